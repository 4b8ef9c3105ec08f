//! Which variables change the program a name finds, or what a program does when started.
//! The list errs towards doubt; a variable is only ever cleared by name.

use super::Word;

/// Variables that change which program is found or what a program does when started.
pub(super) fn changes_programs(name: &str) -> bool {
    const EXACT: &[&str] = &[
        "PATH", "IFS", "ENV", "HOME", "SHELL", "CDPATH", "SHELLOPTS", "GLOBIGNORE", "PROMPT_COMMAND", "PS0", "PS1", "PS2", "PS3", "PS4",
        "EXECIGNORE", "TERMINFO", "TERMCAP", "PAGER", "MANPAGER", "EDITOR", "VISUAL", "BROWSER", "LESSOPEN", "LESSCLOSE", "LESSEDIT", "LESS",
        "NODE_OPTIONS", "NODE_PATH", "PERLLIB", "PERLIO", "RUBYOPT", "RUBYLIB", "RUBYSHELL", "GEM_HOME", "GEM_PATH", "BUNDLE_GEMFILE",
        "JAVA_TOOL_OPTIONS", "_JAVA_OPTIONS", "JDK_JAVA_OPTIONS", "CLASSPATH", "LUA_INIT", "LUA_PATH", "LUA_CPATH", "PHPRC", "PHP_INI_SCAN_DIR",
        "RUSTC", "RUSTC_WRAPPER", "RUSTC_WORKSPACE_WRAPPER", "RUSTFLAGS", "RUSTDOC", "CC", "CXX", "LD", "AR", "MAKEFLAGS", "MAKESHELL", "GNUMAKEFLAGS",
        "SSH_ASKPASS", "SUDO_ASKPASS", "SUDO_EDITOR", "XDG_CONFIG_HOME", "XDG_CONFIG_DIRS", "GCONV_PATH", "LOCPATH", "NLSPATH", "HOSTALIASES",
        "RES_OPTIONS", "TAR_OPTIONS", "RSYNC_RSH", "CVS_RSH", "TAPE", "ZDOTDIR", "FPATH", "OPENSSL_CONF", "OPENSSL_MODULES", "SSLKEYLOGFILE",
        "CURL_HOME", "WGETRC", "INPUTRC", "HISTFILE", "MAIL", "MAILPATH", "FCEDIT", "AWKPATH", "AWKLIBPATH", "GREP_OPTIONS", "VIMINIT", "EXINIT",
        "R_PROFILE", "R_PROFILE_USER", "JULIA_LOAD_PATH", "GOFLAGS", "GOTOOLCHAIN", "TCLLIBPATH", "NIX_PATH", "PKG_CONFIG",
    ];
    const PREFIX: &[&str] = &[
        "LD_", "DYLD_", "BASH", "PYTHON", "PERL5", "GIT_", "CARGO_", "npm_config_", "NPM_CONFIG_", "PIP_", "UV_", "DOCKER_", "KUBE", "GLIBC_",
        "MALLOC_", "_RLD", "COR_", "CORECLR_", "DOTNET_", "ELECTRON_", "http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY",
    ];
    const HARMLESS: &[&str] = &["GIT_AUTHOR_", "GIT_COMMITTER_", "GIT_TERMINAL_PROMPT", "PYTHONUNBUFFERED", "PYTHONDONTWRITEBYTECODE", "PYTHONHASHSEED", "CARGO_TERM_"];
    EXACT.contains(&name)
        || (PREFIX.iter().any(|prefix| name.starts_with(prefix)) && !HARMLESS.iter().any(|prefix| name.starts_with(prefix)))
}

pub(super) fn is_name(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_') && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

pub(super) fn is_number(word: &Word) -> bool {
    word.literal().is_some_and(|text| {
        let digits = text.strip_prefix('-').unwrap_or(text);
        !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit())
    })
}
