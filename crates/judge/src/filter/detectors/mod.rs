//! Every credential the filter recognises by how it looks, one file for a family and one line here. A detector never trusts its
//! anchor alone: it checks the form, the check digits where there are any, and that it is no placeholder.

mod aws;
mod chat;
mod checksum;
mod cloud;
mod connection;
mod github;
mod header;
mod jwt;
mod keyed;
mod naming;
mod npm;
mod pem;
mod phrase;
mod table;

pub(super) use table::TABLE;

use super::detect::Detector;

/// Every detector that has a file. The handle's own stands first.
pub(super) static ALL: &[&Detector] = &[
    &super::handle::DETECTOR,
    &aws::PAIR,
    &chat::DISCORD_BOT,
    &chat::DISCORD_WEBHOOK,
    &chat::SLACK,
    &chat::TEAMS_WEBHOOK,
    &chat::TELEGRAM,
    &cloud::ACCOUNT_KEY,
    &cloud::AZURE_SECRET,
    &cloud::GOOGLE,
    &cloud::GRAFANA,
    &cloud::OPENAI,
    &cloud::SIGNED,
    &cloud::TERRAFORM,
    &connection::USERINFO_PASSWORD,
    &github::CLASSIC,
    &github::FINE_GRAINED,
    &header::AUTHORIZATION,
    &header::BEARER,
    &header::COOKIE,
    &jwt::TOKEN,
    &keyed::KEYED,
    &npm::TOKEN,
    &pem::AGE,
    &pem::BLOCK,
    &pem::ENCODED,
    &pem::PUTTY,
    &phrase::COMMAND,
    &phrase::HASHED,
];
