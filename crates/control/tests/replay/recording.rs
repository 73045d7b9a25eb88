//! The recordings as files: what was asked, and what a real Nova answered.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use reprieve_core::Timestamp;
use serde_json::Value;

use crate::clock::time;

/// One request and its answer.
pub struct Recording {
    /// When it was asked, in whole seconds.
    pub time: Timestamp,
    pub method: String,
    pub path: String,
    /// Without the token.
    pub headers: Vec<(String, String)>,
    /// Whether a token was sent. Whose is not recorded; the script says it.
    pub with_token: bool,
    pub body: Option<Vec<u8>>,
    pub status: u16,
    pub answer_headers: Vec<(String, String)>,
    pub answer: Value,
}

/// Directory of the recordings.
pub fn directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/recordings")
}

/// Every recording by name: its path below the directory, without the extension.
pub fn all() -> BTreeMap<String, Recording> {
    let mut found = BTreeMap::new();
    collect(&directory(), "", &mut found);
    found
}

fn collect(directory: &Path, prefix: &str, found: &mut BTreeMap<String, Recording>) {
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        let stem = path.file_stem().unwrap().to_str().unwrap();
        let name = format!("{prefix}{stem}");
        if path.is_dir() {
            // A folder's name may have a dot in it.
            let folder = path.file_name().unwrap().to_str().unwrap();
            collect(&path, &format!("{prefix}{folder}/"), found);
        } else if path.extension().is_some_and(|kind| kind == "json") {
            found.insert(name, read(&path));
        }
    }
}

fn read(path: &Path) -> Recording {
    let file: Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    let (request, response) = (&file["request"], &file["response"]);
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let given = request["headers"].as_object().unwrap();
    let body = match &request["body"] {
        Value::Null => None,
        Value::String(raw) => Some(raw.clone().into_bytes()),
        json => Some(json.to_string().into_bytes()),
    };
    Recording {
        time: time(file["time"].as_str().unwrap()),
        method: text(&request["method"]),
        path: text(&request["path"]),
        headers: given
            .iter()
            .filter(|(name, _)| *name != "X-Auth-Token")
            .map(|(name, value)| (name.clone(), text(value)))
            .collect(),
        with_token: given.contains_key("X-Auth-Token"),
        body,
        status: u16::try_from(response["status"].as_u64().unwrap()).unwrap(),
        answer_headers: response["headers"]
            .as_array()
            .unwrap()
            .iter()
            .map(|pair| (text(&pair[0]).to_ascii_lowercase(), text(&pair[1])))
            .collect(),
        answer: response["body"].clone(),
    }
}
