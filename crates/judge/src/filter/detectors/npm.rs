//! npm's access tokens, which end in a check sum of the rest.

use super::super::detect::{Detector, Found};
use super::super::finding::Confidence;
use super::super::plausible;
use super::super::text::{ALNUM, Text};
use super::checksum::crc32_base62;

pub(in super::super) static TOKEN: Detector = Detector {
    matches: &[
        "//registry.npmjs.org/:_authToken=«npm¦_aB3dE5fG7hI9jK1lM2nO4pQ6rS8tU02Us3Wo»",
        "x«npm¦_aB3dE5fG7hI9jK1lM2nO4pQ6rS8tU02Us3Wo»",
    ],
    near_misses: &[
        "npm¦_config_registry_and_other_settings_of_npm",
        "npm¦_xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx",
        "npm¦_aB3dE5fG7hI9jK1lM2nO4pQ6rS8tU0",
    ],
    ..Detector::secret("npm-token", &["npm_"], find)
};

fn find(text: &Text<'_>, at: usize, found: &mut Found<'_>) {
    if !text.is(at, "npm_") {
        return;
    }
    let end = text.run(at + 4, &ALNUM, 37);
    let body = text.slice(at + 4, end);
    if body.len() != 36 {
        return;
    }
    if crc32_base62(&body[..30], &body[30..]) {
        found.add(at, end, Confidence::Certain);
    } else if text.begins(at) && plausible::body(body) {
        found.add(at, end, Confidence::Likely);
    }
}
