//! Serial consoles: what a host says of them, and the way to one, through a real pseudo-terminal.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test stops at the first surprise")]

mod support;

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::net::SocketAddr;
use std::os::unix::ffi::OsStringExt as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use reprieve_compute::console::{ConsoleServer, serve};
use reprieve_core::console::{ConsoleEndpoint, ConsoleProtocol, DomainConsole};
use reprieve_core::message::HostResponse;
use reprieve_core::ports::HypervisorError;
use reprieve_core::{
    Clock as _, InstanceId, OperationKind, PowerReason, PowerState, SealingKey, SystemClock,
    VmState,
};
use reprieve_hypervisor::fake::{Call, FakeHypervisor};
use rustix::pty::{OpenptFlags, openpt, ptsname, unlockpt};
use rustix::termios::{OptionalActions, tcgetattr, tcsetattr};
use support::World;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::sync::DropGuard;

const KEY: [u8; 32] = [1; 32];
const LONG: Duration = Duration::from_secs(60);

/// A guest's end of a pseudo-terminal, and what the host calls the other.
fn terminal() -> (File, PathBuf) {
    let guest = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
    unlockpt(&guest).unwrap();
    // Bytes pass as they are, as QEMU sets it.
    let mut attributes = tcgetattr(&guest).unwrap();
    attributes.make_raw();
    tcsetattr(&guest, OptionalActions::Now, &attributes).unwrap();
    let name = ptsname(&guest, Vec::new()).unwrap();
    let path = PathBuf::from(std::ffi::OsString::from_vec(name.into_bytes()));
    (File::from(guest), path)
}

async fn served(fake: &FakeHypervisor) -> (SocketAddr, DropGuard) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let server = ConsoleServer {
        hypervisor: Arc::new(fake.clone()),
        clock: Arc::new(SystemClock),
        sealing_key: SealingKey::new(KEY),
    };
    let stop = CancellationToken::new();
    tokio::spawn(serve(listener, server, stop.clone()));
    (address, stop.drop_guard())
}

fn greeting(id: InstanceId, key: [u8; 32]) -> String {
    let until = SystemClock.now().plus(Duration::from_secs(60));
    let ticket = SealingKey::new(key).console_ticket(id, until).unwrap();
    format!("CONNECT {id} HTTP/1.1\r\nX-Reprieve-Ticket: {ticket}\r\n\r\n")
}

/// Connects, and reads as far as the empty line.
async fn connect(address: SocketAddr, greeting: &str) -> (TcpStream, String) {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(greeting.as_bytes()).await.unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(timeout(LONG, stream.read_u8()).await.unwrap().unwrap());
    }
    let head = String::from_utf8(head).unwrap();
    (stream, head.lines().next().unwrap().to_owned())
}

async fn text(stream: &mut TcpStream, bytes: usize) -> String {
    let mut read = vec![0; bytes];
    timeout(LONG, stream.read_exact(&mut read)).await.unwrap().unwrap();
    String::from_utf8(read).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bytes_pass_both_ways_for_one_proxy_at_a_time() {
    let world = World::new();
    world.run(OperationKind::Create, VmState::Building).await;
    let id = world.spec.id;
    let (mut guest, path) = terminal();
    world.fake.set_consoles(&[DomainConsole::SerialPty(path)]);
    let (address, _serving) = served(&world.fake).await;
    // What follows the greeting at once is not lost.
    let (mut proxy, status) = connect(address, &format!("{}ls\r", greeting(id, KEY))).await;
    assert_eq!(status, "HTTP/1.1 200 OK");
    let mut typed = [0; 3];
    guest.read_exact(&mut typed).unwrap();
    assert_eq!(&typed, b"ls\r");
    guest.write_all(b"\x1b[1mbin\xff\r\n").unwrap();
    let mut shown = [0; 10];
    timeout(LONG, proxy.read_exact(&mut shown)).await.unwrap().unwrap();
    assert_eq!(&shown, b"\x1b[1mbin\xff\r\n");

    // However often another one asks.
    for _ in 0..3 {
        let (_, status) = connect(address, &greeting(id, KEY)).await;
        assert_eq!(status, "HTTP/1.1 409 Conflict");
    }
    proxy.shutdown().await.unwrap();
    assert_eq!(timeout(LONG, proxy.read(&mut shown)).await.unwrap().unwrap(), 0);
    let (mut proxy, status) = connect(address, &greeting(id, KEY)).await;
    assert_eq!(status, "HTTP/1.1 200 OK");
    guest.write_all(b"again").unwrap();
    assert_eq!(text(&mut proxy, 5).await, "again");
    // The guest ends.
    drop(guest);
    assert_eq!(timeout(LONG, proxy.read(&mut shown)).await.unwrap().unwrap(), 0);
}

/// A proxy that reads nothing does not keep the guest from writing for good.
#[tokio::test]
async fn a_proxy_that_takes_nothing_loses_the_console() {
    let world = World::new();
    world.run(OperationKind::Create, VmState::Building).await;
    let (mut guest, path) = terminal();
    world.fake.set_consoles(&[DomainConsole::SerialPty(path)]);
    let (address, _serving) = served(&world.fake).await;
    let (_proxy, status) = connect(address, &greeting(world.spec.id, KEY)).await;
    assert_eq!(status, "HTTP/1.1 200 OK");
    // More than all buffers on the way hold. The thread ends with the program.
    std::thread::spawn(move || while guest.write(&[b'x'; 65536]).is_ok() {});
    let again = async {
        let mut tries = tokio::time::interval(Duration::from_millis(100));
        loop {
            tries.tick().await;
            let (stream, status) = connect(address, &greeting(world.spec.id, KEY)).await;
            if status == "HTTP/1.1 200 OK" {
                return stream;
            }
            assert_eq!(status, "HTTP/1.1 409 Conflict");
        }
    };
    let mut taker = timeout(LONG, again).await.unwrap();
    assert_eq!(text(&mut taker, 5).await, "xxxxx");
}

#[tokio::test]
async fn who_may_not_or_cannot_is_told_so() {
    let world = World::new();
    world.run(OperationKind::Create, VmState::Building).await;
    let id = world.spec.id;
    let (address, serving) = served(&world.fake).await;
    let status = async |greeting: &str| connect(address, greeting).await.1;
    let unauthorized = "HTTP/1.1 401 Unauthorized";
    assert_eq!(status("GET / HTTP/1.1\r\n\r\n").await, unauthorized);
    assert_eq!(status(&greeting(id, [2; 32])).await, unauthorized);
    let other = greeting(InstanceId::random(), KEY);
    let for_other = other.split_once("\r\n").unwrap().1;
    assert_eq!(status(&format!("CONNECT {id} HTTP/1.1\r\n{for_other}")).await, unauthorized);
    assert_eq!(status(&"x".repeat(5000)).await, unauthorized);
    // A guest without a console, a server without a guest, a terminal that is none.
    assert_eq!(status(&greeting(id, KEY)).await, "HTTP/1.1 404 Not Found");
    assert_eq!(status(&other).await, "HTTP/1.1 404 Not Found");
    world.fake.set_consoles(&[DomainConsole::SerialPty("/dev/null".into())]);
    assert_eq!(status(&greeting(id, KEY)).await, "HTTP/1.1 503 Service Unavailable");
    world.fake.set_disconnected(Some("gone"));
    assert_eq!(status(&greeting(id, KEY)).await, "HTTP/1.1 503 Service Unavailable");
    // One that says nothing does not keep the daemon from ending.
    let mut silent = TcpStream::connect(address).await.unwrap();
    drop(serving);
    let end = timeout(LONG, silent.read(&mut [0])).await.unwrap();
    assert!(matches!(end, Ok(0) | Err(_)), "{end:?}");
}

#[tokio::test]
async fn a_host_tells_where_they_are() {
    let world = World::new();
    world.run(OperationKind::Create, VmState::Building).await;
    let host = world.boot().await;
    let id = world.spec.id;
    let (_guest, path) = terminal();
    assert_eq!(host.console(id, ConsoleProtocol::Serial).await, HostResponse::NoConsole);
    let display = |address: &str, port| DomainConsole::Listening {
        protocol: ConsoleProtocol::Spice,
        address: address.into(),
        port,
        tls_port: Some(5901),
    };
    world.fake.set_consoles(&[DomainConsole::SerialPty(path), display("0.0.0.0", None)]);
    let endpoint = ConsoleEndpoint {
        host: "node1".into(),
        port: 6084,
        tls_port: None,
        path: Some(id.to_string()),
    };
    let there = HostResponse::Console { endpoint };
    assert_eq!(host.console(id, ConsoleProtocol::Serial).await, there);
    let endpoint =
        ConsoleEndpoint { host: "node1".into(), port: 5901, tls_port: Some(5901), path: None };
    let spice = HostResponse::Console { endpoint };
    assert_eq!(host.console(id, ConsoleProtocol::Spice).await, spice);
    assert_eq!(host.console(id, ConsoleProtocol::Vnc).await, HostResponse::NoConsole);
    world.fake.set_power(id, PowerState::Paused, PowerReason::User);
    assert_eq!(host.console(id, ConsoleProtocol::Serial).await, there);

    // What cannot be opened is not promised.
    world.fake.set_consoles(&[DomainConsole::SerialPty("/dev/pts/none".into())]);
    assert_eq!(host.console(id, ConsoleProtocol::Serial).await, HostResponse::NoConsole);
    let error = HypervisorError::Failed { call: "consoles", message: "no".into() };
    world.fake.fail_next(Call::Consoles, error.clone());
    let failed = HostResponse::Failed { message: error.to_string() };
    assert_eq!(host.console(id, ConsoleProtocol::Serial).await, failed);
    world.fake.guest_powers_off(id);
    let off = HostResponse::NotRunning { power: PowerState::Shutdown };
    assert_eq!(host.console(id, ConsoleProtocol::Serial).await, off);
    let unknown = HostResponse::NotRunning { power: PowerState::NoState };
    assert_eq!(host.console(InstanceId::random(), ConsoleProtocol::Serial).await, unknown);
}
