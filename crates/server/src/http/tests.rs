//! With real sockets: what a client that keeps its connection sees.

use axum::body::Body;
use axum::http::StatusCode;
use axum::middleware;
use axum::routing::{get, post, put};
use reprieve_control::http::body;
use reprieve_control::http::request::{Watch, observe};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::task::JoinHandle;

use super::*;

/// For everything that happens at once or not at all.
const SOON: Duration = Duration::from_secs(20);

/// A service in the middleware of the real one.
struct Served {
    address: std::net::SocketAddr,
    shutdown: CancellationToken,
    serving: JoinHandle<()>,
}

impl Served {
    async fn start() -> Self {
        let router = Router::new()
            .route("/", get(|| async { "hello" }))
            .route("/refuse", put(|| async { StatusCode::UNSUPPORTED_MEDIA_TYPE }))
            .route(
                "/read",
                post(async |body: Body| match body::read(body, 1000).await {
                    Ok(bytes) => Ok(bytes.len().to_string()),
                    Err(error) => Err((StatusCode::PAYLOAD_TOO_LARGE, error.to_string())),
                }),
            )
            .layer(middleware::from_fn_with_state(Watch::default(), observe));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (address, shutdown) = (listener.local_addr().unwrap(), CancellationToken::new());
        let serving = tokio::spawn(serve(listener, router, shutdown.clone()));
        Self { address, shutdown, serving }
    }

    async fn connect(&self) -> Client {
        let (read, write) = TcpStream::connect(self.address).await.unwrap().into_split();
        Client { read, write }
    }

    /// Stops it, and says how long that took.
    async fn stop(self) -> Duration {
        let begun = std::time::Instant::now();
        self.shutdown.cancel();
        self.serving.await.unwrap();
        begun.elapsed()
    }
}

struct Client {
    read: OwnedReadHalf,
    write: OwnedWriteHalf,
}

/// An answer as it came.
struct Answer {
    status: u16,
    head: String,
    body: String,
}

impl Answer {
    fn closes(&self) -> bool {
        self.head.contains("connection: close\r\n")
    }
}

impl Client {
    async fn send(&mut self, head: &str, body: &[u8]) {
        self.write.write_all(format!("{head}\r\nhost: x\r\n\r\n").as_bytes()).await.unwrap();
        self.write.write_all(body).await.unwrap();
    }

    /// The next answer and not a byte more.
    async fn answer(&mut self) -> Answer {
        let reading = async {
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                head.push(self.read.read_u8().await.unwrap());
            }
            let head = String::from_utf8(head).unwrap().to_ascii_lowercase();
            let length = head.split_once("content-length: ").unwrap().1;
            let length = length.split("\r\n").next().unwrap().parse().unwrap();
            let mut body = vec![0; length];
            self.read.read_exact(&mut body).await.unwrap();
            let status = head.split(' ').nth(1).unwrap().parse().unwrap();
            Answer { status, head, body: String::from_utf8(body).unwrap() }
        };
        tokio::time::timeout(SOON, reading).await.unwrap()
    }

    /// Whether the server has ended the connection, without a reset.
    async fn is_at_its_end(&mut self) -> bool {
        let mut rest = Vec::new();
        let read = tokio::time::timeout(SOON, self.read.read_to_end(&mut rest)).await;
        read.unwrap().unwrap();
        rest.is_empty()
    }
}

#[tokio::test]
async fn a_connection_goes_on_behind_a_small_body_that_nobody_read() {
    let served = Served::start().await;
    let mut client = served.connect().await;
    for (head, body, status) in [
        ("POST /nowhere HTTP/1.1\r\ncontent-length: 5", &b"12345"[..], 404),
        ("PUT /refuse HTTP/1.1\r\ncontent-length: 60000", &[b'x'; 60_000], 415),
        ("POST /read HTTP/1.1\r\ncontent-length: 2000", &[b'x'; 2_000], 413),
        ("POST /read HTTP/1.1\r\ncontent-length: 3", b"abc", 200),
        ("POST /read HTTP/1.1\r\ntransfer-encoding: chunked", b"3\r\nabc\r\n0\r\n\r\n", 200),
        ("GET / HTTP/1.1", b"", 200),
    ] {
        client.send(head, body).await;
        let answer = client.answer().await;
        assert_eq!((answer.status, answer.closes()), (status, false), "{head}");
    }
    // Clients that keep a connection without using it hold nobody up.
    assert!(served.stop().await < DRAIN);
}

#[tokio::test]
async fn two_requests_may_come_at_once() {
    let served = Served::start().await;
    let mut client = served.connect().await;
    let both = b"12345GET / HTTP/1.1\r\nhost: x\r\n\r\n";
    client.send("POST /nowhere HTTP/1.1\r\ncontent-length: 5", both).await;
    assert_eq!(client.answer().await.status, 404);
    let second = client.answer().await;
    assert_eq!((second.status, second.body.as_str()), (200, "hello"));
}

#[tokio::test]
async fn a_large_upload_is_refused_and_the_refusal_arrives() {
    const MIB: usize = 1 << 20;
    let served = Served::start().await;
    let mut client = served.connect().await;
    let head = format!("PUT /refuse HTTP/1.1\r\ncontent-length: {}", 32 * MIB);
    client.send(&head, b"").await;
    let piece = vec![b'x'; MIB];
    // As most libraries do it: everything is sent before anything is read.
    for _ in 0..32 {
        client.write.write_all(&piece).await.unwrap();
    }
    let answer = client.answer().await;
    assert_eq!((answer.status, answer.closes()), (415, true));
    assert!(client.is_at_its_end().await);
    drop(client);
    assert!(served.stop().await < DRAIN);
}

/// Nobody waits for a body that does not come, or says nothing of its end.
#[tokio::test]
async fn slow_and_endless_bodies_end_the_connection() {
    let served = Served::start().await;
    for (head, body) in [
        ("PUT /refuse HTTP/1.1\r\ncontent-length: 100", &b"begun"[..]),
        ("PUT /refuse HTTP/1.1\r\ntransfer-encoding: chunked", b"5\r\nbegun\r\n"),
        ("PUT /refuse HTTP/1.1\r\nexpect: 100-continue\r\ncontent-length: 5", b""),
    ] {
        let mut client = served.connect().await;
        client.send(head, body).await;
        let answer = client.answer().await;
        assert_eq!((answer.status, answer.closes()), (415, true), "{head}");
        assert!(client.is_at_its_end().await, "{head}");
    }
}

#[tokio::test]
async fn a_body_that_breaks_off_breaks_nothing() {
    let served = Served::start().await;
    let mut client = served.connect().await;
    client.send("POST /nowhere HTTP/1.1\r\ncontent-length: 100", b"begun").await;
    drop(client);
    let mut other = served.connect().await;
    other.send("GET / HTTP/1.1", b"").await;
    assert_eq!(other.answer().await.status, 200);
}
