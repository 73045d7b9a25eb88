//! The hypervisor behind libvirt.
//!
//! Owns: the connection to libvirtd and everything that is known about it, the deadlines of all
//! calls, and the events. Never shells out, never parses what `virsh` prints.
//!
//! ```text
//!             open ok                       closed by libvirtd, I/O error, keepalive
//! Down(words) --------> Up(connection) --------------------------------------------+
//!   ^   | 250 ms … 5 s     | Connected                                             |
//!   +---+                  v                                                       |
//!   ^  refused         calls run                                  Disconnected     |
//!   +------------------------------------------------------------------------------+
//! ```
//!
//! Invariants:
//! - Nothing here fails because libvirtd is missing: while it is, calls answer
//!   [`HypervisorError::Unavailable`] at once, and the supervisor goes on trying.
//! - Every call has a deadline. A call that is given up goes on in its thread; whoever asked has to
//!   look what became of it. Only an error that proves that libvirtd never got the call is
//!   `Unavailable`; a connection lost in the middle of a change is `Interrupted`.
//! - A missed event is never lost for good: a receiver that is too slow, and every new connection,
//!   gets `Connected`, which means "look at everything".

mod calls;
mod facts;
pub mod kvm;
mod link;
mod machine;
mod port;
mod save_file;
mod state;
mod stats;
pub mod sys;

use std::path::PathBuf;
use std::sync::{Arc, mpsc};

use futures_util::StreamExt as _;
use futures_util::stream::{self, BoxStream};
use reprieve_core::ports::HypervisorEvent;
use tokio::sync::broadcast;

use crate::xml::DomainType;
use calls::Lanes;
use facts::FactsCell;
use link::{LinkCell, Signal};

/// Events that a receiver may be behind before it is told to look at everything instead.
const EVENT_BACKLOG: usize = 4096;

/// Settings.
#[derive(Debug, Clone)]
pub struct LibvirtConfig {
    /// Connection URI: `qemu:///system`.
    pub uri: String,
    /// Directory of the instances, for the free space and the cache mode of disks. Has to exist.
    pub instances_dir: PathBuf,
    /// How guests run; `None`: on KVM if a test guest runs on it, else emulated.
    pub domain_type: Option<DomainType>,
}

/// The hypervisor behind libvirt. Cheap to clone; the connection is closed with the last clone.
#[derive(Clone)]
pub struct Libvirt {
    inner: Arc<Inner>,
    // Dropped with the last clone, which ends the supervisor.
    _stop: Arc<StopOnDrop>,
}

/// What the calls, the supervisor and the prober share.
struct Inner {
    config: LibvirtConfig,
    link: LinkCell,
    lanes: Lanes,
    facts: FactsCell,
    events: broadcast::Sender<HypervisorEvent>,
}

struct StopOnDrop(mpsc::Sender<Signal>);

impl Drop for StopOnDrop {
    fn drop(&mut self) {
        // An error means that the supervisor has ended already.
        let _ = self.0.send(Signal::Stop);
    }
}

impl Libvirt {
    /// Begins to connect in the background and returns at once.
    #[must_use]
    pub fn start(config: LibvirtConfig) -> Self {
        let (events, _) = broadcast::channel(EVENT_BACKLOG);
        let inner = Arc::new(Inner {
            config,
            link: LinkCell::new(),
            lanes: Lanes::new(),
            facts: FactsCell::new(),
            events,
        });
        let signals = link::supervise(&inner);
        Self { inner, _stop: Arc::new(StopOnDrop(signals)) }
    }

    /// A stream that begins with the present state of the connection, if it is known.
    fn event_stream(&self) -> BoxStream<'static, HypervisorEvent> {
        // Subscribed before the state is read: a change in between is seen twice, not missed.
        let receiver = self.inner.events.subscribe();
        let now = stream::iter(self.inner.link.as_event());
        let later = stream::unfold(receiver, |mut receiver| async move {
            match receiver.recv().await {
                Ok(event) => Some((event, receiver)),
                Err(broadcast::error::RecvError::Lagged(_)) => {
                    Some((HypervisorEvent::Connected, receiver))
                }
                Err(broadcast::error::RecvError::Closed) => None,
            }
        });
        now.chain(later).boxed()
    }
}
