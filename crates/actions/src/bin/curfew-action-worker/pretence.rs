//! What is no worker, and speaks like one: it plays a script, word by word.
//!
//! `+HEAD` sends a frame, `=BODY` gives the next one a body, `!HEX` sends bytes; in texts `@N@` stands for so many letters.
//! `again` repeats the last frame for ever, `later` waits a second, `heard` takes what comes until it is to run something, `listen`
//! whatever comes until nobody is there any more.

use std::io::{self, Read as _, Write as _};
use std::os::fd::AsFd as _;
use std::os::unix::net::UnixStream;
use std::process::ExitCode;
use std::time::Duration;

pub(crate) fn main(script: &[String]) -> ExitCode {
    match play(script) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

fn play(script: &[String]) -> io::Result<()> {
    let mut socket = UnixStream::from(io::stdin().as_fd().try_clone_to_owned()?);
    let (mut frame, mut body) = (Vec::new(), String::new());
    for word in script {
        match (word.get(..1), word.get(1..).unwrap_or_default()) {
            (Some("="), text) => body = long(text),
            (Some("+"), head) => {
                let head = long(head);
                frame.clear();
                for part in [&head, &body] {
                    frame.extend(u32::try_from(part.len()).map_err(io::Error::other)?.to_le_bytes());
                }
                frame.extend_from_slice(head.as_bytes());
                frame.extend_from_slice(body.as_bytes());
                body.clear();
                socket.write_all(&frame)?;
            }
            (Some("!"), hex) => {
                let digits = hex.as_bytes().chunks(2).map(|two| String::from_utf8_lossy(two).into_owned());
                let bytes: Result<Vec<u8>, _> = digits.map(|two| u8::from_str_radix(&two, 16)).collect();
                socket.write_all(&bytes.map_err(io::Error::other)?)?;
            }
            _ if word == "again" => loop {
                socket.write_all(&frame)?;
            },
            _ if word == "later" => wait(),
            _ if word == "heard" => hear(&mut socket)?,
            _ if word == "listen" => while socket.read(&mut [0; 65536])? > 0 {},
            _ => return Err(io::Error::other("a word that means nothing")),
        }
    }
    Ok(())
}

/// Takes frames until one says that something is to be run.
fn hear(socket: &mut UnixStream) -> io::Result<()> {
    loop {
        let (mut head, mut body) = ([0; 4], [0; 4]);
        socket.read_exact(&mut head)?;
        socket.read_exact(&mut body)?;
        let mut head = vec![0; u32::from_le_bytes(head) as usize];
        socket.read_exact(&mut head)?;
        socket.read_exact(&mut vec![0; u32::from_le_bytes(body) as usize])?;
        if String::from_utf8_lossy(&head).contains(r#""is":"run""#) {
            return Ok(());
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "what it waits for is that nothing happens")]
fn wait() {
    std::thread::sleep(Duration::from_secs(1));
}

/// `@3@` is `xxx`.
fn long(text: &str) -> String {
    let mut parts = text.split('@');
    let mut long = parts.next().unwrap_or_default().to_owned();
    while let (Some(count), Some(rest)) = (parts.next(), parts.next()) {
        long.push_str(&"x".repeat(count.parse().unwrap_or(0)));
        long.push_str(rest);
    }
    long
}
