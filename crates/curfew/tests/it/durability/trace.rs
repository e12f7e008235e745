//! Reads what `strace -f -yy` wrote, and judges whether an answer waited for the disk.
//!
//! A thread stands still at the begin and at the end of each call until strace has written it down. So what a thread
//! does because another one's call has ended comes later in the trace than that end.

use std::collections::HashMap;

/// The calls to trace: whatever reads from a socket, writes to a socket or a file, or syncs.
pub(super) const CALLS: &str = "trace=read,readv,recvfrom,recvmsg,write,writev,pwrite64,pwritev,pwritev2,sendto,sendmsg,\
                                fsync,fdatasync,sync_file_range";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Read,
    Write,
    Sync,
}

/// One call: where in the trace it begins and ends, and what it was about.
#[derive(Debug)]
struct Call {
    kind: Kind,
    begin: usize,
    /// `None`: not before the end of the trace.
    end: Option<usize>,
    /// What strace says that the descriptor is: a path, or the two ends of a connection.
    file: String,
    /// Its arguments as strace writes them.
    text: String,
    result: i64,
}

impl Call {
    fn ended_by(&self, moment: usize) -> bool {
        self.end.is_some_and(|end| end < moment)
    }

    fn is_on_a_socket(&self) -> bool {
        ["TCP:", "TCPv6:", "socket:"].iter().any(|kind| self.file.starts_with(kind))
    }
}

/// A request and its answer on one connection.
#[derive(Debug)]
pub(super) struct Exchange {
    /// How the request begins, as far as strace shows it.
    pub(super) request: String,
    /// The request's last bytes were read.
    read: usize,
    /// The answer's first bytes began to be written.
    answered: usize,
}

/// A whole trace.
#[derive(Debug)]
pub(super) struct Trace {
    calls: Vec<Call>,
}

impl Trace {
    pub(super) fn parse(text: &str) -> Self {
        let mut calls: Vec<Call> = Vec::new();
        let mut begun: HashMap<&str, usize> = HashMap::new();
        for (moment, line) in text.lines().enumerate() {
            let Some((thread, rest)) = line.split_once(' ') else { continue };
            let Some((_, said)) = rest.trim_start().split_once(' ') else { continue };
            if let Some((_, rest)) = said.strip_prefix("<... ").and_then(|said| said.split_once(" resumed>"))
            {
                let Some(call) = begun.remove(thread).map(|number| &mut calls[number]) else { continue };
                call.text.push_str(rest);
                call.end = Some(moment);
                call.result = result(rest);
                continue;
            }
            let Some((name, arguments)) = said.split_once('(') else { continue };
            let Some(kind) = kind(name) else { continue };
            let (arguments, ended) = match arguments.strip_suffix(" <unfinished ...>") {
                Some(arguments) => (arguments, false),
                None => (arguments, true),
            };
            calls.push(Call {
                kind,
                begin: moment,
                end: ended.then_some(moment),
                file: file(arguments).to_owned(),
                text: arguments.to_owned(),
                result: if ended { result(arguments) } else { -1 },
            });
            if !ended {
                begun.insert(thread, calls.len() - 1);
            }
        }
        Self { calls }
    }

    /// The requests that were answered, in the order of their answers.
    pub(super) fn exchanges(&self) -> Vec<Exchange> {
        let mut asked: HashMap<&str, Exchange> = HashMap::new();
        let mut exchanges = Vec::new();
        for call in self.calls.iter().filter(|call| call.is_on_a_socket()) {
            match (call.kind, call.end) {
                (Kind::Read, Some(end)) if call.result > 0 => {
                    let new = || Exchange { request: quoted(&call.text), read: end, answered: usize::MAX };
                    asked.entry(&call.file).or_insert_with(new).read = end;
                }
                (Kind::Write, _) => {
                    if let Some(mut exchange) = asked.remove(call.file.as_str()) {
                        exchange.answered = call.begin;
                        exchanges.push(exchange);
                    }
                }
                _ => {}
            }
        }
        exchanges
    }

    /// Whether what a request wrote to the log was on the disk before its answer began: after the last write to the log
    /// a sync of it began, and ended well.
    pub(super) fn judge(&self, exchange: &Exchange, log: &str) -> Result<(), String> {
        let of_log =
            |kind| self.calls.iter().filter(move |call| call.kind == kind && call.file.ends_with(log));
        let within = |call: &&Call| call.begin > exchange.read && call.begin < exchange.answered;
        let writes: Vec<&Call> = of_log(Kind::Write).filter(within).collect();
        if writes.iter().any(|write| !write.ended_by(exchange.answered)) {
            return Err(format!("{}: answered while {log} was being written", exchange.request));
        }
        let Some(written) = writes.iter().filter_map(|write| write.end).max() else {
            return Err(format!("{}: nothing was written to {log}", exchange.request));
        };
        let synced = of_log(Kind::Sync)
            .any(|sync| sync.begin > written && sync.ended_by(exchange.answered) && sync.result == 0);
        if synced { Ok(()) } else { Err(format!("{}: answered before {log} was synced", exchange.request)) }
    }
}

fn kind(name: &str) -> Option<Kind> {
    Some(match name {
        "read" | "readv" | "recvfrom" | "recvmsg" => Kind::Read,
        "write" | "writev" | "pwrite64" | "pwritev" | "pwritev2" | "sendto" | "sendmsg" => Kind::Write,
        // `sync_file_range` promises nothing about the disk.
        "fsync" | "fdatasync" => Kind::Sync,
        _ => return None,
    })
}

/// `17</data/curfew.db-wal>, …` or `18<TCP:[127.0.0.1:1->127.0.0.1:2]>, …`: what stands in the angle brackets.
fn file(arguments: &str) -> &str {
    let Some((_, after)) = arguments.split_once('<') else { return "" };
    let ends = [">,", ">)", "> "].iter().filter_map(|end| after.find(end)).min();
    ends.map_or(after.strip_suffix('>').unwrap_or(after), |end| &after[..end])
}

/// What follows the last ` = `; an error is negative.
fn result(arguments: &str) -> i64 {
    let said = arguments.rsplit_once(" = ").map_or("", |(_, said)| said);
    said.split(' ').next().and_then(|number| number.parse().ok()).unwrap_or(-1)
}

/// The first quoted text.
fn quoted(arguments: &str) -> String {
    arguments.split('"').nth(1).unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOG: &str = "/curfew.db-wal";

    const READ: &str =
        r#"11 1.0 recvfrom(9<TCP:[127.0.0.1:1->127.0.0.1:2]>, "PATCH /api", 99, 0, NULL, NULL) = 10"#;
    const WRITE: &str = r#"12 1.1 pwrite64(7</data/curfew.db-wal>, "\0\1", 24, 0) = 24"#;
    const SYNC: &str = "12 1.2 fsync(7</data/curfew.db-wal>) = 0";
    const ANSWER: &str = r#"11 1.3 writev(9<TCP:[127.0.0.1:1->127.0.0.1:2]>, [{iov_base="HTTP/1.1 200 OK", iov_len=15}], 1) = 15"#;

    fn judged(lines: &[&str]) -> Result<(), String> {
        let trace = Trace::parse(&lines.join("\n"));
        let exchanges = trace.exchanges();
        assert_eq!(exchanges.len(), 1, "{trace:?}");
        assert_eq!(exchanges[0].request, "PATCH /api");
        trace.judge(&exchanges[0], LOG)
    }

    #[test]
    fn an_answer_after_the_sync_is_good() {
        assert_eq!(judged(&[READ, WRITE, WRITE, SYNC, ANSWER]), Ok(()));
        assert_eq!(judged(&[READ, WRITE, SYNC, WRITE, SYNC, ANSWER]), Ok(()));
        let fdatasync = SYNC.replace("fsync", "fdatasync");
        assert_eq!(judged(&[READ, WRITE, &fdatasync, ANSWER]), Ok(()));
    }

    #[test]
    fn an_answer_before_the_sync_is_found() {
        for lines in [
            &[READ, WRITE, ANSWER, SYNC][..],
            &[READ, WRITE, ANSWER],
            &[SYNC, READ, WRITE, ANSWER],
            // What was written last was not synced.
            &[READ, WRITE, SYNC, WRITE, ANSWER, SYNC],
            // It is the database that was synced, not its log; or the log of something else.
            &[READ, WRITE, "12 1.2 fsync(7</data/curfew.db>) = 0", ANSWER],
            &[READ, WRITE, "12 1.2 fsync(7</data/other.db-wal>) = 0", ANSWER],
            &[READ, WRITE, "12 1.2 fsync(7</data/curfew.db-wal>) = -1 EIO (Input/output error)", ANSWER],
            &[READ, WRITE, "12 1.2 sync_file_range(7</data/curfew.db-wal>, 0, 0, 0) = 0", ANSWER],
        ] {
            assert!(judged(lines).is_err_and(|text| text.contains("before")), "{lines:#?}");
        }
        assert!(judged(&[READ, SYNC, ANSWER]).is_err_and(|text| text.contains("nothing")));
        assert!(judged(&[WRITE, SYNC, READ, ANSWER]).is_err_and(|text| text.contains("nothing")));
    }

    #[test]
    fn a_call_ends_where_it_is_resumed() {
        const BEGUN: &str = "12 1.2 fsync(7</data/curfew.db-wal> <unfinished ...>";
        const ENDED: &str = "12 1.4 <... fsync resumed>)             = 0";
        assert_eq!(judged(&[READ, WRITE, BEGUN, ENDED, ANSWER]), Ok(()));
        assert!(judged(&[READ, WRITE, BEGUN, ANSWER, ENDED]).is_err());
        assert!(
            judged(&[
                READ,
                WRITE,
                BEGUN,
                "12 1.4 <... fsync resumed>) = -1 EIO (Input/output error)",
                ANSWER
            ])
            .is_err()
        );
        // The sync began before the write had ended: nobody knows what it covered.
        let writing = r#"13 1.1 pwrite64(7</data/curfew.db-wal>, "\0", 24, 0 <unfinished ...>"#;
        let written = "13 1.2 <... pwrite64 resumed>) = 24";
        assert_eq!(judged(&[READ, writing, written, SYNC, ANSWER]), Ok(()));
        assert!(judged(&[READ, writing, SYNC, written, ANSWER]).is_err());
        assert!(judged(&[READ, writing, SYNC, ANSWER, written]).is_err_and(|text| text.contains("while")));
        // The answer counts from its begin, the request to its end.
        let asked = "11 1.0 recvfrom(9<TCP:[127.0.0.1:1->127.0.0.1:2]>,  <unfinished ...>";
        let read = r#"11 1.0 <... recvfrom resumed>"PATCH /api", 99, 0, NULL, NULL) = 10"#;
        assert_eq!(judged(&[asked, read, WRITE, SYNC, ANSWER]), Ok(()));
        assert!(judged(&[asked, WRITE, SYNC, read, ANSWER]).is_err());
        let answering = "11 1.3 sendto(9<TCP:[127.0.0.1:1->127.0.0.1:2]>, \"HTTP/1.1 200 OK\", 15, 0, NULL, 0 <unfinished ...>";
        assert!(judged(&[READ, WRITE, answering, SYNC, "11 1.4 <... sendto resumed>) = 15"]).is_err());
    }

    #[test]
    fn a_request_in_pieces_is_read_at_its_last() {
        let rest = READ.replace("PATCH /api", "/v2/users ");
        assert_eq!(judged(&[READ, &rest, WRITE, SYNC, ANSWER]), Ok(()));
        assert!(judged(&[READ, WRITE, SYNC, &rest, ANSWER]).is_err());
    }
}
