//! Remote consoles: their kinds by Nova's names (spec/api.md section 14), and how one is reached.
//!
//! A client asks for a protocol and a kind. Which protocols a guest speaks, its host reads from the
//! running domain; what may be asked for together is decided here.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// What a console speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ConsoleProtocol {
    /// RFB, of a display.
    Vnc,
    /// SPICE, of a display.
    Spice,
    /// Bytes of a serial port.
    Serial,
    /// Of Hyper-V; Nova speaks it no more.
    Rdp,
    /// Of VMware.
    Mks,
}

impl ConsoleProtocol {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Vnc, Self::Spice, Self::Serial, Self::Rdp, Self::Mks];

    /// As the API spells it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Vnc => "vnc",
            Self::Spice => "spice",
            Self::Serial => "serial",
            Self::Rdp => "rdp",
            Self::Mks => "mks",
        }
    }

    /// The protocol of this name.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|protocol| protocol.as_str() == text)
    }
}

/// How a client looks at a console.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ConsoleKind {
    /// noVNC in a browser.
    Novnc,
    /// A Java program that is gone from Nova.
    Xvpvnc,
    /// In a browser.
    SpiceHtml5,
    /// A SPICE client without a browser (2.99).
    SpiceDirect,
    /// A web socket.
    Serial,
    /// In a browser; gone from Nova.
    RdpHtml5,
    /// In a browser.
    Webmks,
}

impl ConsoleKind {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::Novnc,
        Self::Xvpvnc,
        Self::SpiceHtml5,
        Self::SpiceDirect,
        Self::Serial,
        Self::RdpHtml5,
        Self::Webmks,
    ];

    /// As the API and the database spell it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Novnc => "novnc",
            Self::Xvpvnc => "xvpvnc",
            Self::SpiceHtml5 => "spice-html5",
            Self::SpiceDirect => "spice-direct",
            Self::Serial => "serial",
            Self::RdpHtml5 => "rdp-html5",
            Self::Webmks => "webmks",
        }
    }

    /// The kind of this name.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == text)
    }
}

/// Why no console of a kind can be had, in Nova's words.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoConsole {
    /// The guest or this installation has none (`ConsoleTypeUnavailable`).
    #[error("Unavailable console type {0}.")]
    Unavailable(&'static str),
    /// The protocol has no such kind (`ConsoleTypeInvalid`).
    #[error("Invalid console type {0}")]
    Invalid(&'static str),
}

/// Whether a host may be asked for a console of this protocol and kind at all.
///
/// # Errors
/// [`NoConsole`].
pub const fn askable(protocol: ConsoleProtocol, kind: ConsoleKind) -> Result<(), NoConsole> {
    match (protocol, kind) {
        (ConsoleProtocol::Vnc, ConsoleKind::Novnc)
        | (ConsoleProtocol::Spice, ConsoleKind::SpiceHtml5 | ConsoleKind::SpiceDirect)
        | (ConsoleProtocol::Serial, ConsoleKind::Serial) => Ok(()),
        // Nova names the protocol here, whatever the kind.
        (ConsoleProtocol::Rdp, _) => Err(NoConsole::Unavailable("rdp")),
        // Guests are made without a display. Nova looks at whether a protocol is in use here before
        // it looks at the kind.
        (ConsoleProtocol::Mks | ConsoleProtocol::Vnc | ConsoleProtocol::Spice, kind) => {
            Err(NoConsole::Unavailable(kind.as_str()))
        }
        (ConsoleProtocol::Serial, kind) => Err(NoConsole::Invalid(kind.as_str())),
    }
}

/// A device of a running guest through which it is seen and typed to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DomainConsole {
    /// A serial port behind a pseudo-terminal of the host.
    SerialPty(PathBuf),
    /// Something that QEMU listens for itself.
    Listening {
        /// What it speaks.
        protocol: ConsoleProtocol,
        /// Address that it listens on.
        address: String,
        /// TCP port without TLS.
        port: Option<u16>,
        /// TCP port with TLS.
        tls_port: Option<u16>,
    },
}

impl DomainConsole {
    /// What it speaks.
    #[must_use]
    pub const fn protocol(&self) -> ConsoleProtocol {
        match self {
            Self::SerialPty(_) => ConsoleProtocol::Serial,
            Self::Listening { protocol, .. } => *protocol,
        }
    }
}

/// Where a proxy reaches a console.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConsoleEndpoint {
    /// Name or address of the host.
    pub host: String,
    /// TCP port.
    pub port: u16,
    /// TCP port with TLS, if there is one.
    pub tls_port: Option<u16>,
    /// What a proxy asks for with `CONNECT` once connected; `None`: nothing, it talks at once. Nova's
    /// schema has a UUID here.
    pub path: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_back() {
        for protocol in ConsoleProtocol::ALL {
            assert_eq!(ConsoleProtocol::parse(protocol.as_str()), Some(protocol));
        }
        for kind in ConsoleKind::ALL {
            assert_eq!(ConsoleKind::parse(kind.as_str()), Some(kind));
        }
        assert_eq!(ConsoleProtocol::parse("VNC"), None);
        assert_eq!(ConsoleKind::parse(""), None);
    }

    #[test]
    fn every_pair_is_decided() {
        let good = [
            ("vnc", "novnc"),
            ("spice", "spice-html5"),
            ("spice", "spice-direct"),
            ("serial", "serial"),
        ];
        for protocol in ConsoleProtocol::ALL {
            for kind in ConsoleKind::ALL {
                let decided = askable(protocol, kind);
                let names = (protocol.as_str(), kind.as_str());
                let expected = match protocol {
                    _ if good.contains(&names) => Ok(()),
                    ConsoleProtocol::Rdp => Err(NoConsole::Unavailable("rdp")),
                    ConsoleProtocol::Serial => Err(NoConsole::Invalid(kind.as_str())),
                    ConsoleProtocol::Mks | ConsoleProtocol::Vnc | ConsoleProtocol::Spice => {
                        Err(NoConsole::Unavailable(kind.as_str()))
                    }
                };
                assert_eq!(decided, expected, "{names:?}");
            }
        }
    }
}
