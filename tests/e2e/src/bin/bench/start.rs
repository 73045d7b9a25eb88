//! From starting the program on an empty disk to the first answered call.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use reprieve_e2e::daemon::{Daemon, Settings};
use reprieve_e2e::places;
use reprieve_e2e::wait::Deadline;
use reprieve_test_daemons::free_port;

use crate::series::{Report, Series};

const RUNS: usize = 9;
const REQUEST: &[u8] = b"GET /compute/v2.1 HTTP/1.0\r\nHost: localhost\r\n\r\n";

pub fn run() -> Result<Report> {
    let (mut first, mut again) = (Vec::new(), Vec::new());
    for _ in 0..RUNS {
        let dir = tempfile::tempdir().context("temporary directory")?;
        let data = dir.path().join("data");
        std::fs::create_dir(&data).context("data directory")?;
        let libvirt_uri = Some(places::libvirt_uri()?);
        let port = free_port()?;
        let mut daemon = Daemon::prepared(Settings {
            data,
            port,
            libvirt_uri,
            notification_url: None,
            part: None,
        })?;
        first.push(answered(&mut daemon, port)?);
        daemon.stop()?;
        again.push(answered(&mut daemon, port)?);
        daemon.stop()?;
    }
    Ok(Report {
        series: vec![
            Series::times("first start, empty disk, to first answer", Some(500.0), &first),
            Series::times("later start to first answer", None, &again),
        ],
        notes: Vec::new(),
    })
}

fn answered(daemon: &mut Daemon, port: u16) -> Result<Duration> {
    let begun = Instant::now();
    daemon.spawn()?;
    let deadline = Deadline::seconds(30);
    loop {
        if TcpStream::connect(("127.0.0.1", port)).is_ok_and(|stream| ask(stream).is_some()) {
            return Ok(begun.elapsed());
        }
        anyhow::ensure!(!deadline.passed(), "no answer; it said:\n{}", daemon.said());
        // Short beside what is measured; without it the question would slow the answer.
        std::thread::sleep(Duration::from_micros(200));
    }
}

fn ask(mut stream: TcpStream) -> Option<()> {
    stream.set_read_timeout(Some(Duration::from_secs(5))).ok()?;
    stream.write_all(REQUEST).ok()?;
    let mut answer = [0; 12];
    stream.read_exact(&mut answer).ok()?;
    answer.ends_with(b" 200").then_some(())
}
