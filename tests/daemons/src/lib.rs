//! Real daemons for tests: a RabbitMQ broker, a PostgreSQL cluster and a MariaDB server, each an
//! ordinary process with a directory, ports and names of its own.
//!
//! Nothing is installed, enabled or configured on the machine, and no daemon of the machine is
//! talked to. Invariants:
//! - whatever a test starts here ends with the test's process, even if that is killed, and its
//!   directory goes with it ([`keeper`]);
//! - a daemon can be killed and started again on the same ports with the same data.
//!
//! Everything blocks; tests of asynchronous code start daemons before they begin, or once per
//! program.

pub mod backends;
mod keeper;
mod mariadb;
mod postgres;
mod process;
mod rabbitmq;
mod tls;

pub use mariadb::MariaDb;
pub use postgres::Cluster;
pub use process::free_port;
pub use rabbitmq::Broker;
