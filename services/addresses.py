"""Which addresses only this machine reaches."""

import ipaddress


def is_address(name: str) -> bool:
    """Return whether a name is an IP address."""
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def is_loopback(host: str) -> bool:
    """Return whether only this machine reaches an address."""
    return host == "localhost" or (is_address(host) and ipaddress.ip_address(host).is_loopback)
