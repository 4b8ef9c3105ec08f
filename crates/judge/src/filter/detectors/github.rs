//! GitHub's tokens. The classic ones end in a check sum of the rest, which makes them certain; a wrong one is still hidden.

use super::super::detect::{Detector, Found, Part};
use super::super::finding::Confidence;
use super::super::plausible;
use super::super::text::{ALNUM, Text, WORD};
use super::checksum::crc32_base62;

pub(in super::super) static CLASSIC: Detector = Detector {
    matches: &[
        "token=«gh¦p_aB3dE5fG7hI9jK1lM2nO4pQ6rS8tU0vWxYzQ»",
        "![x](https://e.example/?d=«gh¦p_aB3dE5fG7hI9jK1lM2nO4pQ6rS8tU0vWxYzQ»)",
        "\\n«gh¦o_aB3dE5fG7hI9jK1lM2nO4pQ6rS8tU0vWxYzQ»\\n",
        "\u{1b}[32m«gh¦s_aB3dE5fG7hI9jK1lM2nO4pQ6rS8tU0vWxYzQ»\u{1b}[0m",
        "%3D«gh¦r_aB3dE5fG7hI9jK1lM2nO4pQ6rS8tU0vWxYzQ»%26",
    ],
    near_misses: &[
        "gh¦p_xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx",
        "gh¦p_aB3dE5fG7hI9jK1lM2nO4pQ6rS8tU0vWxYz",
        "gh¦p_aB3dE5fG7hI9jK1lM2nO4pQ6rS8tU0vWxYzQzz",
        "gh¦p_your_token_here",
        "GH¦P_AB3DE5FG7HI9JK1LM2NO4PQ6RS8TU0VWXYZQ",
    ],
    ..Detector::secret("github-token", &["ghp_", "gho_", "ghu_", "ghs_", "ghr_"], classic)
};

fn classic(text: &Text<'_>, at: usize, found: &mut Found<'_>) {
    if !["ghp_", "gho_", "ghu_", "ghs_", "ghr_"].iter().any(|prefix| text.is(at, prefix)) {
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

pub(in super::super) static FINE_GRAINED: Detector = Detector {
    matches: &[
        "«github_¦pat_11ABCDEFG0aB3dE5fG7hI9_jK1lM2nO4pQ6rS8tU0vWxYzQaB3dE5fG7hI9jK1lM2nO4pQ6rS8tU0vWxYzQ12a»",
    ],
    near_misses: &["github_¦pat_11ABCDEFG0aB3dE5fG7hI9", "github_¦pat_YOUR_TOKEN"],
    ..Detector::parts("github-token", &["github_pat_"], &[Part::Run(&WORD, 70, 255)])
};
