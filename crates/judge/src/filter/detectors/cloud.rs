//! Keys of clouds that need more than a prefix: Google, Azure, OpenAI's older form, Terraform, Grafana, signed addresses.

use super::super::detect::{Detector, Found, Part, follow};
use super::super::finding::Confidence;
use super::super::plausible::{self, Mix};
use super::super::text::{ALNUM, BASE64PAD, Bytes, HEX, Text, WORDS};
use super::checksum::crc32;

static SIGNATURE: Bytes = Bytes::of("A-Za-z0-9%+/=_-");
static AZURE: Bytes = Bytes::of("A-Za-z0-9_~.-");

pub(in super::super) static GOOGLE: Detector = Detector {
    matches: &[
        "?key=«AI¦zaSyB3dE5fG7hI9jK1lM2nO4pQ6rS8tU0vWxY»&q=1",
        "<«AI¦zaSyB3dE5fG7hI9jK1lM2nO4pQ6rS8tU0vWx-»>",
    ],
    near_misses: &[
        "AI¦zaSyXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXX",
        "AI¦zaSyB3dE5fG7hI9jK1lM2nO4pQ6rS8tU0vW",
        "AI¦zaSyYourApiKeyHereYourApiKeyHere123",
    ],
    ..Detector::secret("google-key", &["AIza"], google)
};

fn google(text: &Text<'_>, at: usize, found: &mut Found<'_>) {
    let end = text.run(at + 4, &WORDS, 36);
    if text.is(at, "AIza") && text.begins(at) && end - at == 39 && plausible::body(text.slice(at + 4, end)) {
        found.add(at, end, Confidence::Likely);
    }
}

pub(in super::super) static OPENAI: Detector = Detector {
    matches: &[
        "«sk-aB3dE5fG7hI9jK1lM2nOT3B¦lbkFJ4pQ6rS8tU0vWxYzQ1aB3»",
        "«sk-proj-aB3dE5fG7hI9jK1lM2nOT3B¦lbkFJ4pQ6rS8tU0vWxYzQ1aB3»",
    ],
    near_misses: &["T3B¦lbkFJ", "xT3B¦lbkFJ4pQ6rS8tU0vWxYzQ1aB3"],
    ..Detector::secret("openai-key", &["T3BlbkFJ"], openai)
};

fn openai(text: &Text<'_>, at: usize, found: &mut Found<'_>) {
    let start = text.run_back(at, &WORDS, 110);
    let before = text.slice(start, at);
    let Some(from) = memchr::memmem::rfind(before, b"sk-").map(|n| start + n) else { return };
    let end = text.run(at + 8, &WORDS, 160);
    if end - at - 8 >= 20 {
        found.add(from, end, Confidence::Certain);
    }
}

pub(in super::super) static AZURE_SECRET: Detector = Detector {
    matches: &["secret: «aB38Q~dE5fG7hI9jK1lM2nO4pQ6rS8tU0vWxYzQa»"],
    near_misses: &["FAQ~s", "aB38Q~short", "___8Q~aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"],
    ..Detector::secret("azure-client-secret", &["Q~"], azure)
};

fn azure(text: &Text<'_>, at: usize, found: &mut Found<'_>) {
    let Some(start) = at.checked_sub(4) else { return };
    if !text.is(at, "Q~")
        || !text.before(at).is_some_and(|b| b.is_ascii_digit())
        || text.before(start).is_some_and(|b| ALNUM.has(b))
    {
        return;
    }
    let end = text.run(at + 2, &AZURE, 36);
    let chars = end - at - 2;
    if (31..=34).contains(&chars)
        && text.run(start, &AZURE, 3) == start + 3
        && plausible::body(text.slice(start, end))
    {
        found.add(start, end, Confidence::Likely);
    }
}

pub(in super::super) static TERRAFORM: Detector = Detector {
    matches: &[
        "«aB3dE5fG7hI9jK.atl¦asv1.aB3dE5fG7hI9jK1lM2nO4pQ6rS8tU0vWxYzQaB3dE5fG7hI9jK1lM2nO4pQ6rS8tU0»",
    ],
    near_misses: &[
        "x.atl¦asv1.zz",
        "xxxxxxxxxxxxxx.atl¦asv1.xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx",
    ],
    ..Detector::secret("terraform-token", &[".atlasv1."], terraform)
};

fn terraform(text: &Text<'_>, at: usize, found: &mut Found<'_>) {
    let start = text.run_back(at, &ALNUM, 15);
    let body = at + ".atlasv1.".len();
    let end = text.run(body, &WORDS, 80);
    if at - start == 14 && end - body >= 60 && plausible::body(text.slice(body, end)) {
        found.add(start, end, Confidence::Likely);
    }
}

pub(in super::super) static GRAFANA: Detector = Detector {
    matches: &[
        "«gls¦a_aB3dE5fG7hI9jK1lM2nO4pQ6rS8tU0xY_56120224»",
        "«gls¦a_aB3dE5fG7hI9jK1lM2nO4pQ6rS8tU0xY_00120224»",
    ],
    near_misses: &[
        "gls¦a_xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx_00000000",
        "gls¦a_aB3dE5fG7hI9jK1lM2nO4pQ6rS8tU0xY",
    ],
    ..Detector::secret("grafana-token", &["glsa_"], grafana)
};

fn grafana(text: &Text<'_>, at: usize, found: &mut Found<'_>) {
    let body = at + 5;
    let Some(end) = follow(text, body, &[Part::Take(&ALNUM, 32), Part::Text("_"), Part::Run(&HEX, 8, 8)])
    else {
        return;
    };
    let sum =
        std::str::from_utf8(text.slice(end - 8, end)).ok().and_then(|hex| u32::from_str_radix(hex, 16).ok());
    if sum == Some(crc32(text.slice(at, end - 9))) {
        found.add(at, end, Confidence::Certain);
    } else if text.begins(at) && plausible::body(text.slice(body, body + 32)) {
        found.add(at, end, Confidence::Likely);
    }
}

pub(in super::super) static SIGNED: Detector = Detector {
    matches: &[
        "?X-Amz-Credential=x&X-Amz-Signature=«0f3c9a71b2d84e560f3c9a71b2d84e560f3c9a71b2d84e560f3c9a71b2d84e56»",
        "?sv=2022-11-02&sr=b&sig=«kX9%2FfQ2m%2BLw8Zr4tYb6NcVd1Hs3Jg5Pk7UaBxEyR1a2%3D»",
        "SharedAccessSignature=sv=2022&sig=«kX9%2FfQ2m%2BLw8Zr4tYb6NcVd1Hs3Jg5Pk7UaBxEyR1a2%3D»",
    ],
    near_misses: &[
        "&sig=ed25519",
        "?sig=your-signature-goes-here-please-now",
        "X-Amz-Signature=<signature>",
        "const sig = verify",
    ],
    ..Detector::secret(
        "signed-url",
        &["X-Amz-Signature=", "X-Goog-Signature=", "&sig=", "?sig=", ";sig=", "&amp;sig="],
        signed,
    )
};

fn signed(text: &Text<'_>, at: usize, found: &mut Found<'_>) {
    let Some(sign) = text.seek(at, "=", 20) else { return };
    let end = text.run(sign + 1, &SIGNATURE, 520);
    let body = text.slice(sign + 1, end);
    let mix = Mix::of(body);
    if body.len() >= 32 && mix.digit > 2 && plausible::entropy(body) > 3.2 && plausible::body(body) {
        found.add(sign + 1, end, Confidence::Likely);
    }
}

pub(in super::super) static ACCOUNT_KEY: Detector = Detector {
    matches: &[
        "AccountName=x;AccountKey=«kX9/fQ2m+Lw8Zr4tYb6NcVd1Hs3Jg5Pk7UaBxEyR1a2kX9/fQ2m+Lw8Zr4tYb6NcVd1Hs3Jg5Pk7UaBxEyR1a2==»;E=y",
    ],
    near_misses: &["AccountKey=<key>;", "AccountKey={0};"],
    ..Detector::secret("azure-account-key", &["AccountKey=", "SharedAccessKey="], account_key)
};

fn account_key(text: &Text<'_>, at: usize, found: &mut Found<'_>) {
    let Some(sign) = text.seek(at, "=", 20) else { return };
    let end = text.run(sign + 1, &BASE64PAD, 100);
    let body = text.slice(sign + 1, end);
    if (40..=92).contains(&body.len()) && plausible::body(body) {
        found.add(sign + 1, end, Confidence::Likely);
    }
}
