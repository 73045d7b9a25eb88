//! Certificates of daemons, for the name `localhost`.

use std::path::Path;
use std::process::Command;

use anyhow::Result;

use crate::process::run;

/// An authority (`ca.pem`), and a certificate that it signed (`server.pem`, `server.key`).
pub(crate) fn make_certificates(dir: &Path) -> Result<()> {
    std::fs::write(
        dir.join("server.ext"),
        "subjectAltName=DNS:localhost\nbasicConstraints=CA:FALSE\n",
    )?;
    let openssl = |args: &str| {
        run(Command::new("openssl").current_dir(dir).args(args.split_whitespace())).map(drop)
    };
    let key = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes";
    openssl(&format!("req -x509 {key} -keyout ca.key -out ca.pem -days 2 -subj /CN=tests"))?;
    openssl(&format!("req {key} -keyout server.key -out server.csr -subj /CN=localhost"))?;
    openssl(
        "x509 -req -in server.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 \
         -extfile server.ext -out server.pem",
    )
}
