//! Where a click may be sent on to: below a registered address, or wherever a signature says.
//!
//! Invariant: an address is judged as a browser reads it (the URL standard), and what is sent is the text that was
//! judged. What two readers might take for two addresses (backslashes, control characters, credentials, encoded slashes
//! below a prefix) is refused.

use adsum_model::hash::Secret;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, Mac};
use sha2::Sha256;
use url::Url;

/// The longest destination, in bytes.
const URL_BYTES_MAX: usize = 4096;
/// What the click secret is derived by.
const LABEL: &[u8] = b"adsum click v1";

/// The address to send a browser on to, normalised; none where it may not be.
pub fn allowed<'r>(
    target: &str,
    signature: Option<&str>,
    mut registered: impl Iterator<Item = &'r str>,
    secret: &Secret,
) -> Option<String> {
    let url = plain(target)?;
    let signed = signature.is_some_and(|signature| is_signed(target, signature, secret));
    (signed || registered.any(|prefix| is_below(&url, prefix))).then(|| url.into())
}

/// The signature of a destination, base64url without padding; none where no signature would help.
pub fn sign(target: &str, secret: &Secret) -> Option<String> {
    plain(target).map(|_| URL_SAFE_NO_PAD.encode(signer(target, secret).finalize().into_bytes()))
}

/// Whether an address can be registered: addresses below it are found.
pub fn is_registrable(prefix: &str) -> bool {
    plain(prefix).is_some_and(|p| p.query().is_none() && p.fragment().is_none())
}

/// An address that every reader reads the same way.
fn plain(text: &str) -> Option<Url> {
    let odd = |c: char| c.is_control() || c.is_whitespace() || c == '\\';
    if text.len() > URL_BYTES_MAX || text.chars().any(odd) {
        return None;
    }
    // The parser forgives a missing or a third slash; other readers do not.
    let (scheme, behind) = text.split_once("://")?;
    if !matches!(scheme.to_ascii_lowercase().as_str(), "http" | "https") || behind.starts_with('/') {
        return None;
    }
    let authority = behind.split(['/', '?', '#']).next().unwrap_or_default();
    let url = Url::parse(text).ok()?;
    (url.host().is_some() && !authority.contains('@')).then_some(url)
}

/// Whether an address is a registered one or lies below it, at a boundary of its path.
fn is_below(url: &Url, prefix: &str) -> bool {
    let Some(prefix) = plain(prefix).filter(|_| is_registrable(prefix)) else { return false };
    let same_origin = url.scheme() == prefix.scheme()
        && url.host() == prefix.host()
        && url.port_or_known_default() == prefix.port_or_known_default();
    let path = url.path();
    let lower = path.to_ascii_lowercase();
    let ambiguous = lower.contains("%2f") || lower.contains("%5c");
    let below = path.strip_prefix(prefix.path());
    let at_boundary =
        below.is_some_and(|rest| rest.is_empty() || rest.starts_with('/') || prefix.path().ends_with('/'));
    same_origin && at_boundary && !ambiguous
}

fn is_signed(target: &str, signature: &str, secret: &Secret) -> bool {
    let given = if signature.len() == 64 { unhex(signature) } else { URL_SAFE_NO_PAD.decode(signature).ok() };
    // In constant time, so that a guess learns nothing.
    given.is_some_and(|given| signer(target, secret).verify_slice(&given).is_ok())
}

fn signer(target: &str, secret: &Secret) -> Hmac<Sha256> {
    let key = keyed(secret.bytes(), LABEL).finalize().into_bytes();
    keyed(&key, target.as_bytes())
}

fn keyed(key: &[u8], text: &[u8]) -> Hmac<Sha256> {
    let mut mac = <Hmac<Sha256> as Mac>::new_from_slice(key).expect("HMAC takes a key of any length");
    mac.update(text);
    mac
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let digit = |b: &u8| char::from(*b).to_digit(16);
    let pairs = text.as_bytes().chunks(2);
    pairs.map(|pair| Some((digit(pair.first()?)? * 16 + digit(pair.get(1)?)?) as u8)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const REGISTERED: [&str; 3] =
        ["https://shop.example/sale", "https://brand.example/", "http://local.example:8080/a/"];

    #[test]
    fn table_of_destinations() {
        let secret = Secret::new([7; 16]);
        let check = |target: &str, want: Option<&str>| {
            let got = allowed(target, None, REGISTERED.into_iter(), &secret);
            assert_eq!(got.as_deref(), want, "{target}");
        };
        for (target, sent) in [
            ("https://shop.example/sale", "https://shop.example/sale"),
            ("https://shop.example/sale/", "https://shop.example/sale/"),
            ("https://shop.example/sale?a=1&b=//evil.example#x", "https://shop.example/sale?a=1&b=//evil.example#x"),
            ("HTTPS://SHOP.example:443/sale/./x/../y", "https://shop.example/sale/y"),
            ("https://brand.example", "https://brand.example/"),
            ("https://brand.example/any/path?q=%0d%0a", "https://brand.example/any/path?q=%0d%0a"),
            ("http://local.example:8080/a/b", "http://local.example:8080/a/b"),
        ] {
            check(target, Some(sent));
        }
        for target in [
            "",
            "/sale",
            "//shop.example/sale",
            "shop.example/sale",
            "https:shop.example/sale",
            "https:/shop.example/sale",
            "https:///shop.example/sale",
            "https://shop.example/",
            "https://shop.example/salesman",
            "https://shop.example/sale/../admin",
            "https://shop.example/sale/%2e%2e/admin",
            "https://shop.example/sale/%2E./admin",
            "https://shop.example/sale/..%2fadmin",
            "https://shop.example/sale/..%5Cadmin",
            "https://shop.example/sale\\..\\admin",
            "https://shop.example/SALE",
            "http://shop.example/sale",
            "https://shop.example:8443/sale",
            "https://shop.example.evil.example/sale",
            "https://shop.example./sale",
            "https://evil.example/https://shop.example/sale",
            "https://evil.example?https://shop.example/sale",
            "https://shop.example@evil.example/sale",
            "https://shop.example%40evil.example/sale",
            "https://evil.example\\@shop.example/sale",
            "https://evil.example#@shop.example/sale",
            "https://user@shop.example/sale",
            "https://user:password@shop.example/sale",
            "https://@shop.example/sale",
            "https://:@shop.example/sale",
            "https://shop.example\t/sale",
            "https://shop.exa\nmple/sale",
            "https://shop.example/sale\r\nSet-Cookie: a=b",
            " https://shop.example/sale",
            "https://shop.example/sale ",
            "https://shop.example\u{3000}/sale",
            "https://shop\u{ff0e}example.evil.example/sale",
            "https://shop.example\u{2044}.evil.example/sale",
            "java\tscript:alert(1)",
            "javascript:alert(1)",
            "javascript://shop.example/sale%0aalert(1)",
            "data:text/html,x",
            "data://shop.example/sale",
            "file:///etc/passwd",
            "ftp://shop.example/sale",
            "https://[::1]/sale",
            "https://0x7f.1/sale",
            "https://",
            "https://?u=https://shop.example/sale",
        ] {
            check(target, None);
        }
        check(&format!("https://brand.example/{}", "x".repeat(URL_BYTES_MAX)), None);
    }

    #[test]
    fn table_of_signatures() {
        let secret = Secret::new([7; 16]);
        let target = "https://elsewhere.example/x?a=1";
        let signature = sign(target, &secret).unwrap();
        let hex: String =
            URL_SAFE_NO_PAD.decode(&signature).unwrap().iter().map(|byte| format!("{byte:02x}")).collect();
        let changed = format!("{}{}", if signature.starts_with('A') { "B" } else { "A" }, &signature[1..]);
        let evil = "javascript://elsewhere.example/%0aalert(1)";
        assert_eq!(sign(evil, &secret), None);
        let forced = URL_SAFE_NO_PAD.encode(signer(evil, &secret).finalize().into_bytes());
        for (target, signature, good) in [
            (target, signature.as_str(), true),
            (target, hex.as_str(), true),
            (target, hex.to_uppercase().as_str(), true),
            (target, changed.as_str(), false),
            (target, &signature[..42], false),
            (target, &hex[..62], false),
            (target, "", false),
            (target, sign(target, &Secret::new([8; 16])).unwrap().as_str(), false),
            ("https://elsewhere.example/x?a=2", signature.as_str(), false),
            // What is signed is still an address for a browser.
            (evil, forced.as_str(), false),
        ] {
            let got = allowed(target, Some(signature), std::iter::empty(), &secret);
            assert_eq!(got.is_some(), good, "{target} {signature}");
        }
    }
}
