//! Why a sign-in or its renewal failed, in words for the person who has to act. No message holds a token, a code or a secret,
//! and of what others wrote only plain, short parts.

/// Why a sign-in failed or ended. Cheap to clone: every waiter of one failed renewal gets it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LoginError {
    /// The server's name cannot name a secret.
    #[error("server `{0}` has a name that no login can be kept under; give it a shorter one")]
    Name(String),
    /// An address that no token or code may be sent to or asked from.
    #[error("{what} `{url}` cannot be used: {why}")]
    Address {
        /// Whose address.
        what: &'static str,
        /// The address, cut.
        url: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// Nobody answered, or not as HTTP.
    #[error("{what} at {host} cannot be read: {why}")]
    Unreachable {
        /// Who.
        what: &'static str,
        /// Its host.
        host: String,
        /// The transport's words.
        why: String,
    },
    /// It sends elsewhere, and nobody follows: the address that was checked is the address that is used.
    #[error("{what} at {host} redirects, which is not followed; have its operator name the final address")]
    Redirects {
        /// Who.
        what: &'static str,
        /// Its host.
        host: String,
    },
    /// No protected resource metadata anywhere.
    #[error(
        "the server names no authorization server: neither its answer nor {tried} leads to protected resource metadata \
         (RFC 9728); use `headers` if it takes another credential"
    )]
    NoResourceMetadata {
        /// The addresses tried.
        tried: String,
    },
    /// No metadata of the authorization server anywhere.
    #[error("the authorization server `{issuer}` publishes no metadata at {tried}")]
    NoServerMetadata {
        /// The authorization server.
        issuer: String,
        /// The addresses tried.
        tried: String,
    },
    /// A document that does not say what it must.
    #[error("{what} at {host} is unusable: {why}")]
    Document {
        /// Which document.
        what: &'static str,
        /// Its host.
        host: String,
        /// What is wrong.
        why: String,
    },
    /// The metadata is about another server.
    #[error(
        "the protected resource metadata is for `{said}`, not for the configured `{configured}`; a token for it could be \
         used elsewhere, so nothing was asked for. Check `url` in bailiwick.toml"
    )]
    OtherResource {
        /// What the document is for.
        said: String,
        /// What is configured.
        configured: String,
    },
    /// The metadata is that of another authorization server.
    #[error("the authorization server `{expected}` says that it is `{said}`; its metadata cannot be trusted")]
    OtherIssuer {
        /// What it says.
        said: String,
        /// Who was asked.
        expected: String,
    },
    /// The server names another authorization server than the operator.
    #[error(
        "the server names the authorization server `{said}`, but `issuer` in bailiwick.toml is `{configured}`; \
         correct the one that is wrong"
    )]
    UnexpectedIssuer {
        /// What the server names.
        said: String,
        /// What is configured.
        configured: String,
    },
    /// It does not say that it supports PKCE with S256.
    #[error(
        "the authorization server `{0}` does not say that it supports PKCE with S256 (`code_challenge_methods_supported`), \
         without which a stolen code can be used; MCP forbids to sign in there"
    )]
    NoPkce(String),
    /// There is nothing to be called by.
    #[error(
        "the authorization server `{0}` registers no clients by itself; register one there and set `client_id` in \
         `auth`, or give it a `client_metadata_url`{1}"
    )]
    NoClient(String, &'static str),
    /// It knows no signatures of clients.
    #[error(
        "the authorization server `{0}` does not say that a client may prove itself by a signature \
         (`private_key_jwt`); use `client_secret`, or leave `client_key` out"
    )]
    NoSigned(String),
    /// It would not register a client.
    #[error("the authorization server at {host} did not register a client: {why}; set `client_id` in `auth`")]
    Registration {
        /// Who.
        host: String,
        /// Its status and error code.
        why: String,
    },
    /// What came back is no answer.
    #[error("what came back from the browser is no answer to this sign-in: {0}")]
    Answer(&'static str),
    /// What came back belongs to another sign-in.
    #[error(
        "what came back from the browser does not belong to this sign-in (wrong `state`); somebody else may have made it, so \
         nothing was exchanged"
    )]
    State,
    /// What came back is from another authorization server.
    #[error(
        "what came back from the browser is not from `{expected}` ({why} `iss`); a mix-up of authorization servers is \
         possible, so nothing was exchanged"
    )]
    MixUp {
        /// Where it was sent.
        expected: String,
        /// `wrong` or `no`.
        why: &'static str,
    },
    /// The person or the authorization server said no.
    #[error("the authorization server refused: {code}{description}")]
    Refused {
        /// Its error code.
        code: String,
        /// Its own words after a colon, if they are plain.
        description: String,
    },
    /// The token endpoint gave no token.
    #[error("the token endpoint at {host} gave no token: {why}")]
    Token {
        /// Its host.
        host: String,
        /// Its status and error code.
        why: String,
    },
    /// Nobody signed in.
    #[error("nobody is signed in to server `{0}`; run `bailiwick login {0}`")]
    Missing(String),
    /// Somebody signed in to another server of that name.
    #[error(
        "the login of server `{server}` is for another address than its `url`; run `bailiwick login {server}`"
    )]
    ForAnother {
        /// The server.
        server: String,
    },
    /// The sign-in is over.
    #[error("the sign-in to server `{server}` has ended ({why}); run `bailiwick login {server}`")]
    Ended {
        /// The server.
        server: String,
        /// Why.
        why: String,
    },
    /// The token could not be renewed now.
    #[error("the sign-in to server `{server}` could not be renewed: {why}; call again later")]
    NotRenewed {
        /// The server.
        server: String,
        /// Why.
        why: String,
    },
    /// The store failed.
    #[error("the login of server `{server}` could not be kept or read: {why}")]
    Store {
        /// The server.
        server: String,
        /// Why.
        why: String,
    },
}
