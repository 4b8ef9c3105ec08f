//! Chat services: bot tokens, and the addresses of webhooks, which are secrets by themselves. Of an address only the secret part is
//! hidden, so that it is still an address.

use super::super::detect::{Detector, Found, Part, follow};
use super::super::finding::Confidence;
use super::super::plausible;
use super::super::text::{ALNUM, Bytes, DIGIT, Text, UPPER, WORDS};

static TEAMS: Bytes = Bytes::of("a-z0-9-");

pub(in super::super) static SLACK: Detector = Detector {
    matches: &["https://hooks.slack.com/services/T0AB12CD3/B0EF45GH6/«aB3dE5fG7hI9jK1lM2nO4pQ6»)"],
    near_misses: &[
        "https://hooks.slack.com/services/T00000000/B00000000/XXXXXXXXXXXXXXXXXXXXXXXX",
        "https://hooks.slack.com/services/",
    ],
    ..Detector::secret("slack-webhook", &["hooks.slack.com/"], slack)
};

fn slack(text: &Text<'_>, at: usize, found: &mut Found<'_>) {
    let from = at + "hooks.slack.com/".len();
    let ways = ["services/", "workflows/", "triggers/"];
    let Some(way) = ways.iter().find(|way| text.is(from, way)) else { return };
    let first = from + way.len();
    let second = text.run(first, &UPPER, 20);
    let third = text.run(second + 1, &UPPER, 20);
    if text.at(second) == Some(b'/') && text.at(third) == Some(b'/') {
        secret(text, third + 1, text.run(third + 1, &WORDS, 100), 20, found);
    }
}

/// A secret part of an address.
fn secret(text: &Text<'_>, start: usize, end: usize, chars_min: usize, found: &mut Found<'_>) {
    if end - start >= chars_min && plausible::body(text.slice(start, end)) {
        found.add(start, end, Confidence::Likely);
    }
}

pub(in super::super) static DISCORD_WEBHOOK: Detector = Detector {
    matches: &[
        "https://discord.com/api/webhooks/123456789012345678/«aB3dE5fG7hI9jK1lM2nO4pQ6rS8tU0vWxYzQaB3dE5fG7hI9jK1lM2nO4pQ6rS8tU0vW»",
    ],
    near_misses: &[
        "https://discord.com/api/webhooks/ID/TOKEN",
        "https://discord.com/api/webhooks/1234/your-token-here",
    ],
    ..Detector::secret("discord-webhook", &["/api/webhooks/"], discord_webhook)
};

fn discord_webhook(text: &Text<'_>, at: usize, found: &mut Found<'_>) {
    let number = at + "/api/webhooks/".len();
    let end = text.run(number, &DIGIT, 22);
    if end - number >= 15 && text.at(end) == Some(b'/') {
        secret(text, end + 1, text.run(end + 1, &WORDS, 100), 50, found);
    }
}

pub(in super::super) static DISCORD_BOT: Detector = Detector {
    matches: &["bot = '«MTEyMzQ1Njc4OTAxMjM0NTY3.GaB3dE.5fG7hI9jK1lM2nO4pQ6rS8tU0vWxYzQ-aB3dE5»'"],
    near_misses: &["MTEyMzQ1Njc4OTAxMjM0NTY3", "module.MTAwMDAwMDAw.exports", "NzE.NzE.NzE"],
    ..Detector::secret("discord-token", NUMBERS, discord_bot)
};

/// How base64 of a number of two digits and more begins.
static NUMBERS: &[&str] = &[
    "MTA", "MTE", "MTI", "MTM", "MTQ", "MTU", "MTY", "MTc", "MTg", "MTk", "MjA", "MjE", "MjI", "MjM", "MjQ",
    "MjU", "MjY", "Mjc", "Mjg", "Mjk", "MzA", "MzE", "MzI", "MzM", "MzQ", "MzU", "MzY", "Mzc", "Mzg", "Mzk",
    "NDA", "NDE", "NDI", "NDM", "NDQ", "NDU", "NDY", "NDc", "NDg", "NDk", "NTA", "NTE", "NTI", "NTM", "NTQ",
    "NTU", "NTY", "NTc", "NTg", "NTk", "NjA", "NjE", "NjI", "NjM", "NjQ", "NjU", "NjY", "Njc", "Njg", "Njk",
    "NzA", "NzE", "NzI", "NzM", "NzQ", "NzU", "NzY", "Nzc", "Nzg", "Nzk", "ODA", "ODE", "ODI", "ODM", "ODQ",
    "ODU", "ODY", "ODc", "ODg", "ODk", "OTA", "OTE", "OTI", "OTM", "OTQ", "OTU", "OTY", "OTc", "OTg", "OTk",
];

fn discord_bot(text: &Text<'_>, at: usize, found: &mut Found<'_>) {
    // The first part is a number in base64: look at where its end must be before anything else.
    let near = |n: usize| text.within(at + n, &DOT);
    if !(near(24) || near(26) || near(28)) || !text.begins(at) {
        return;
    }
    let dot = text.run(at, &ALNUM, 29);
    let number = super::checksum::base64(text.slice(at, dot), 32);
    if number.len() < 17 || !number.iter().all(u8::is_ascii_digit) {
        return;
    }
    let parts = &[Part::Text("."), Part::Take(&WORDS, 6), Part::Text("."), Part::Run(&WORDS, 27, 45)];
    if let Some(end) = follow(text, dot, parts) {
        found.add(at, end, Confidence::Certain);
    }
}

static DOT: Bytes = Bytes::of(".");

pub(in super::super) static TELEGRAM: Detector = Detector {
    matches: &["https://api.telegram.org/bot«7012345678:A¦AHfQ2mLw8Zr4tYb6NcVd1Hs3Jg5Pk7Uax9»/getMe"],
    near_misses: &["12:AA:34", "7012345678:A¦Axxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx", "00:AABBCC"],
    ..Detector::secret("telegram-token", &[":AA"], telegram)
};

fn telegram(text: &Text<'_>, at: usize, found: &mut Found<'_>) {
    let start = text.run_back(at, &DIGIT, 12);
    if !(8..=10).contains(&(at - start)) {
        return;
    }
    let end = text.run(at + 1, &WORDS, 36);
    if end - at - 1 == 35 && plausible::body(text.slice(at + 3, end)) {
        found.add(start, end, Confidence::Likely);
    }
}

pub(in super::super) static TEAMS_WEBHOOK: Detector = Detector {
    matches: &[
        "https://acme.webhook.office.com/webhookb2/0f3c9a71-b2d8-4e56-8f3c-9a71b2d84e56@0f3c9a71-b2d8-4e56-8f3c-9a71b2d84e56/IncomingWebhook/«0f3c9a71b2d84e560f3c9a71b2d84e56»/0f3c9a71-b2d8-4e56-8f3c-9a71b2d84e56",
    ],
    near_misses: &["https://acme.webhook.office.com/webhookb2/", "/IncomingWebhook/your-hook/"],
    ..Detector::secret("teams-webhook", &["/IncomingWebhook/"], teams)
};

fn teams(text: &Text<'_>, at: usize, found: &mut Found<'_>) {
    let start = at + "/IncomingWebhook/".len();
    secret(text, start, text.run(start, &TEAMS, 64), 32, found);
}
