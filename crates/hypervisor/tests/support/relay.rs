//! A socket that leads to the real libvirtd and can be taken away, for tests that lose it.

use std::io;
use std::net::Shutdown;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

const LIBVIRTD: &str = "/run/libvirt/libvirt-sock";

/// Takes connections until dropped; then all are cut and the socket is gone.
pub struct Relay {
    socket: PathBuf,
    ended: Arc<AtomicBool>,
    open: Arc<Mutex<Vec<UnixStream>>>,
}

impl Relay {
    pub fn start(socket: &Path) -> Self {
        let listener = UnixListener::bind(socket).unwrap();
        let relay = Self {
            socket: socket.to_owned(),
            ended: Arc::new(AtomicBool::new(false)),
            open: Arc::default(),
        };
        let (ended, open) = (Arc::clone(&relay.ended), Arc::clone(&relay.open));
        std::thread::spawn(move || {
            for client in listener.incoming() {
                if ended.load(Ordering::SeqCst) {
                    return;
                }
                let client = client.unwrap();
                let server = UnixStream::connect(LIBVIRTD).unwrap();
                pump(&client, &server);
                pump(&server, &client);
                open.lock().unwrap().extend([client, server]);
            }
        });
        relay
    }
}

fn pump(from: &UnixStream, to: &UnixStream) {
    let (mut from, mut to) = (from.try_clone().unwrap(), to.try_clone().unwrap());
    std::thread::spawn(move || {
        // Ends with an error when the relay is dropped.
        let _ = io::copy(&mut from, &mut to);
        let _ = to.shutdown(Shutdown::Both);
    });
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::SeqCst);
        // Wakes the accepting thread.
        let _ = UnixStream::connect(&self.socket);
        let _ = std::fs::remove_file(&self.socket);
        for stream in self.open.lock().unwrap().drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}
