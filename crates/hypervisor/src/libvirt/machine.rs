//! The machine itself: its address, how long it is up, how busy it is.

use std::fs;
use std::net::UdpSocket;
use std::time::{SystemTime, UNIX_EPOCH};

/// An address of the network for documentation: routed as any far one, and never written to.
const FAR_AWAY: (&str, u16) = ("192.0.2.1", 9);
/// Where login sessions are recorded, in records of this size that begin with their type.
const SESSIONS: (&str, usize) = ("/var/run/utmp", 384);
/// Type of the record of a user's session.
const USER_PROCESS: u8 = 7;

/// The address that this machine has towards others: the one that packets to far away would leave
/// from. Nothing is sent.
pub(super) fn address() -> String {
    let found = UdpSocket::bind(("0.0.0.0", 0)).and_then(|socket| {
        socket.connect(FAR_AWAY)?;
        socket.local_addr()
    });
    found.map_or_else(|_| "127.0.0.1".to_owned(), |address| address.ip().to_string())
}

/// What uptime(1) would say now; nothing when the kernel does not tell.
pub(super) fn uptime() -> String {
    let read = |file: &str| fs::read_to_string(file).unwrap_or_default();
    let (up, load) = (read("/proc/uptime"), read("/proc/loadavg"));
    let seconds = up.split('.').next().and_then(|text| text.parse().ok());
    let mut loads = load.split(' ');
    let (Some(seconds), Some(one), Some(five), Some(fifteen)) =
        (seconds, loads.next(), loads.next(), loads.next())
    else {
        return String::new();
    };
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    words(now, seconds, users(), [one, five, fifteen])
}

fn users() -> usize {
    let (file, size) = SESSIONS;
    let records = fs::read(file).unwrap_or_default();
    records.chunks(size).filter(|record| record.first() == Some(&USER_PROCESS)).count()
}

/// The line of uptime(1), at a time in seconds since the epoch (UTC).
fn words(now: u64, up: u64, users: usize, [one, five, fifteen]: [&str; 3]) -> String {
    let (hour, minute, second) = (now / 3600 % 24, now / 60 % 60, now % 60);
    let (days, hours, minutes) = (up / 86_400, up / 3600 % 24, up / 60 % 60);
    let days = match days {
        0 => String::new(),
        1 => "1 day, ".to_owned(),
        days => format!("{days} days, "),
    };
    let rest = match hours {
        0 => format!("{minutes} min, "),
        hours => format!("{hours:2}:{minutes:02}, "),
    };
    let plural = if users > 1 { "s" } else { "" };
    format!(
        " {hour:02}:{minute:02}:{second:02} up {days}{rest}{users:2} user{plural},  load average: \
         {one}, {five}, {fifteen}\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_those_of_uptime() {
        // As recorded from a Nova at 20:15:45.
        let now = 20 * 3600 + 15 * 60 + 45;
        assert_eq!(
            words(now, 43 * 60 + 59, 0, ["4.96", "3.05", "2.07"]),
            " 20:15:45 up 43 min,  0 user,  load average: 4.96, 3.05, 2.07\n"
        );
        let long = 2 * 86_400 + 3 * 3600 + 4 * 60;
        assert_eq!(
            words(now, long, 12, ["0.00", "0.01", "0.05"]),
            " 20:15:45 up 2 days,  3:04, 12 users,  load average: 0.00, 0.01, 0.05\n"
        );
    }

    #[test]
    fn this_machine_has_an_address_and_is_up() {
        assert!(address().parse::<std::net::Ipv4Addr>().is_ok());
        assert!(uptime().contains(" load average: "), "{}", uptime());
    }
}
