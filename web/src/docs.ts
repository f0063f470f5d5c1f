/** /docs: every operation of the api, with its schemas, from our own files. */
import SwaggerUI from "swagger-ui-dist/swagger-ui-es-bundle.js";
import "swagger-ui-dist/swagger-ui.css";

const KEY = "intima-theme";
const chosen = localStorage.getItem(KEY);
const dark = chosen ? chosen === "dark" : window.matchMedia("(prefers-color-scheme: dark)").matches;
document.documentElement.classList.toggle("dark-mode", dark);

SwaggerUI({
  url: "/openapi.json",
  dom_id: "#docs",
  deepLinking: true,
  filter: true,
  // Asks nobody else whether the document is well made.
  validatorUrl: null,
});
