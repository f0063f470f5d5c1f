import { render } from "preact";
import { App } from "./app/App";
import "./styles/theme.css";
import "./styles/base.css";
import "./styles/parts.css";

const root = document.getElementById("app");
if (root) render(<App />, root);
