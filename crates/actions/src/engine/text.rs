//! `host.text`, `host.url`, `host.zlib`: text as bytes, addresses, and compressed data.

use std::io::{Read as _, Write as _};

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use flate2::Compression;
use flate2::read::{DeflateDecoder, GzDecoder, ZlibDecoder};
use flate2::write::{DeflateEncoder, GzEncoder, ZlibEncoder};
use rquickjs::{Ctx, Function, IntoJs as _, Object, Result, TypedArray, Value};
use url::{Url, quirks};

use super::bindings::{array, freeze};
use super::crypto::In;

/// Most bytes that data may unpack to.
const UNPACKED_BYTES_MAX: usize = 32 << 20;

/// Adds them to the host.
pub(super) fn add<'js>(ctx: &Ctx<'js>, host: &Object<'js>) -> Result<()> {
    let text = Object::new(ctx.clone())?;
    text.set_prototype(None)?;
    text.set("utf8Encode", Function::new(ctx.clone(), utf8_encode)?)?;
    text.set("utf8Decode", Function::new(ctx.clone(), utf8_decode)?)?;
    text.set("base64Encode", Function::new(ctx.clone(), base64_encode)?)?;
    text.set("base64Decode", Function::new(ctx.clone(), base64_decode)?)?;
    freeze(ctx, &text)?;
    host.set("text", text)?;
    let url = Object::new(ctx.clone())?;
    url.set_prototype(None)?;
    url.set("parse", Function::new(ctx.clone(), parse)?)?;
    url.set("set", Function::new(ctx.clone(), set)?)?;
    freeze(ctx, &url)?;
    host.set("url", url)?;
    host.set("zlib", Function::new(ctx.clone(), zlib)?)
}

/// Half a character, as the engine writes it (three bytes, `ED A0..BF xx`), becomes `U+FFFD`.
fn whole(mut bytes: Vec<u8>) -> Vec<u8> {
    for at in 0..bytes.len().saturating_sub(2) {
        if bytes[at] == 0xED && bytes[at + 1] >= 0xA0 {
            bytes[at..at + 3].copy_from_slice("\u{FFFD}".as_bytes());
        }
    }
    bytes
}

fn utf8_encode<'js>(ctx: Ctx<'js>, text: rquickjs::String<'js>) -> Result<TypedArray<'js, u8>> {
    array(&ctx, whole(super::raw::utf8(&text)?))
}

/// Text, or nothing where the bytes are none and that matters.
fn utf8_decode(bytes: In, fatal: bool) -> Option<String> {
    match String::from_utf8(bytes.0) {
        Ok(text) => Some(text),
        Err(_) if fatal => None,
        Err(error) => Some(String::from_utf8_lossy(error.as_bytes()).into_owned()),
    }
}

fn base64_encode(bytes: In, for_url: bool) -> String {
    if for_url { URL_SAFE_NO_PAD.encode(&bytes.0) } else { STANDARD.encode(&bytes.0) }
}

/// As Node reads it: either alphabet, with or without padding, and what is none of it is passed over.
fn base64_decode<'js>(ctx: Ctx<'js>, text: String) -> Result<TypedArray<'js, u8>> {
    let mut out = Vec::with_capacity(text.len() / 4 * 3 + 3);
    let (mut held, mut bits) = (0_u32, 0);
    for byte in text.bytes() {
        let value = match byte {
            b'A'..=b'Z' => byte - b'A',
            b'a'..=b'z' => byte - b'a' + 26,
            b'0'..=b'9' => byte - b'0' + 52,
            b'+' | b'-' => 62,
            b'/' | b'_' => 63,
            b'=' => break,
            _ => continue,
        };
        held = held << 6 | u32::from(value);
        bits += 6;
        if bits >= 8 {
            bits -= 8;
            out.push((held >> bits) as u8);
            held &= (1 << bits) - 1;
        }
    }
    array(&ctx, out)
}

/// href, protocol, username, password, host, hostname, port, pathname, search, hash, origin.
fn parts(url: &Url) -> Vec<String> {
    vec![
        quirks::href(url).to_owned(),
        quirks::protocol(url).to_owned(),
        quirks::username(url).to_owned(),
        quirks::password(url).to_owned(),
        quirks::host(url).to_owned(),
        quirks::hostname(url).to_owned(),
        quirks::port(url).to_owned(),
        quirks::pathname(url).to_owned(),
        quirks::search(url).to_owned(),
        quirks::hash(url).to_owned(),
        quirks::origin(url),
    ]
}

/// An address, against another where there is one; nothing where it is none.
fn parse(text: String, base: Option<String>) -> Option<Vec<String>> {
    let url = match base {
        Some(base) => Url::parse(&base).ok()?.join(&text).ok()?,
        None => Url::parse(&text).ok()?,
    };
    Some(parts(&url))
}

/// An address with one part set. What cannot be set stays as it is.
fn set(href: String, part: String, value: String) -> Option<Vec<String>> {
    let mut url = Url::parse(&href).ok()?;
    match part.as_str() {
        "protocol" => drop(quirks::set_protocol(&mut url, &value)),
        "username" => drop(quirks::set_username(&mut url, &value)),
        "password" => drop(quirks::set_password(&mut url, &value)),
        "host" => drop(quirks::set_host(&mut url, &value)),
        "hostname" => drop(quirks::set_hostname(&mut url, &value)),
        "port" => drop(quirks::set_port(&mut url, &value)),
        "pathname" => quirks::set_pathname(&mut url, &value),
        "search" => quirks::set_search(&mut url, &value),
        "hash" => quirks::set_hash(&mut url, &value),
        _ => return None,
    }
    Some(parts(&url))
}

/// Packs or unpacks. What goes wrong is a word: `short`, `bad`, `too-large`.
fn zlib<'js>(ctx: Ctx<'js>, mode: String, bytes: In, level: i32, most: f64) -> Result<Value<'js>> {
    let level = u32::try_from(level)
        .ok()
        .filter(|level| *level <= 9)
        .map_or(Compression::default(), Compression::new);
    let bytes = bytes.0.as_slice();
    let most =
        if (0.0..UNPACKED_BYTES_MAX as f64).contains(&most) { most as usize } else { UNPACKED_BYTES_MAX };
    let done = match mode.as_str() {
        "gzip" => {
            let mut writer = GzEncoder::new(Vec::new(), level);
            writer.write_all(bytes).and_then(|()| writer.finish())
        }
        "deflate" => {
            let mut writer = ZlibEncoder::new(Vec::new(), level);
            writer.write_all(bytes).and_then(|()| writer.finish())
        }
        "deflate-raw" => {
            let mut writer = DeflateEncoder::new(Vec::new(), level);
            writer.write_all(bytes).and_then(|()| writer.finish())
        }
        "gunzip" if bytes.len() >= 2 && !bytes.starts_with(b"\x1f\x8b") => {
            Err(std::io::ErrorKind::InvalidData.into())
        }
        "gunzip" => unpacked(GzDecoder::new(bytes), most),
        "inflate-raw" => unpacked(DeflateDecoder::new(bytes), most),
        "unzip" if bytes.starts_with(b"\x1f\x8b") => unpacked(GzDecoder::new(bytes), most),
        _ => unpacked(ZlibDecoder::new(bytes), most),
    };
    match done {
        Ok(out) if out.len() <= most => array(&ctx, out)?.into_js(&ctx),
        Ok(_) => "too-large".into_js(&ctx),
        Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => "short".into_js(&ctx),
        Err(_) => "bad".into_js(&ctx),
    }
}

fn unpacked(reader: impl std::io::Read, most: usize) -> std::io::Result<Vec<u8>> {
    let mut out = Vec::new();
    reader.take(most as u64 + 1).read_to_end(&mut out)?;
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_taken_apart_and_put_together() {
        let url = parse("../b?q#h".into(), Some("https://u:p@host.example:8443/x/y/z".into())).unwrap();
        assert_eq!(
            url,
            [
                "https://u:p@host.example:8443/x/b?q#h",
                "https:",
                "u",
                "p",
                "host.example:8443",
                "host.example",
                "8443",
                "/x/b",
                "?q",
                "#h",
                "https://host.example:8443"
            ]
        );
        assert_eq!(
            set(url[0].clone(), "port".into(), "443".into()).unwrap()[0],
            "https://u:p@host.example/x/b?q#h"
        );
        assert_eq!(parse("no address".into(), None), None);
    }

    #[test]
    fn half_a_character_becomes_one_that_says_so() {
        assert_eq!(whole(b"a\xED\xA0\xBDb".to_vec()), "a\u{FFFD}b".as_bytes());
        assert_eq!(whole("한".as_bytes().to_vec()), "한".as_bytes());
    }
}
