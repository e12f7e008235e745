//! What the server and the guard say to each other beside the cutoffs.

use curfew_model::UserKey;
use serde::{Deserialize, Serialize};

use crate::config::Stale;
use crate::cutoff::{Cutoff, CutoffError, ReadCutoff};
use crate::position::Position;
use crate::sse::Event;

/// An event of the feed.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum FeedEvent {
    /// The first one.
    Hello(Hello),
    /// Something has ended.
    Ending { cutoff: Cutoff, lane: usize, position: u64 },
    /// A probe came back.
    Echo { probe: u64, position: Position },
    /// Everything up to here has been sent.
    Position(Position),
    /// The last one.
    End { reason: String },
    /// One that this guard does not know and does not need: only cutoffs of an unknown kind are more than that.
    Other,
}

#[derive(Debug, PartialEq, Eq, Deserialize)]
pub(crate) struct Hello {
    /// How this stream is named in probes.
    pub(crate) stream: String,
    /// How often it is to be probed.
    pub(crate) probe_seconds: u64,
}

#[derive(Deserialize)]
struct Ending {
    cutoff: ReadCutoff,
    lane: usize,
    position: u64,
}

#[derive(Deserialize)]
struct Echo {
    probe: u64,
    position: Position,
}

/// `position` in an event, and in the answer of a node that does not hold the stream.
#[derive(Deserialize)]
pub(crate) struct At {
    pub(crate) position: Position,
}

#[derive(Deserialize)]
struct End {
    reason: String,
}

impl FeedEvent {
    /// Reads an event. An unknown kind of cutoff is told from what is malformed.
    pub(crate) fn parse(event: &Event) -> Result<Self, CutoffError> {
        fn data<'a, T: Deserialize<'a>>(event: &'a Event) -> Result<T, CutoffError> {
            serde_json::from_slice(&event.data).map_err(|_| CutoffError::Malformed)
        }
        Ok(match event.name.as_slice() {
            b"hello" => Self::Hello(data(event)?),
            b"ending" => {
                let Ending { cutoff: ReadCutoff(cutoff), lane, position } = data(event)?;
                Self::Ending { cutoff: cutoff?, lane, position }
            }
            b"echo" => {
                let Echo { probe, position } = data(event)?;
                Self::Echo { probe, position }
            }
            b"position" => Self::Position(data::<At>(event)?.position),
            b"end" => Self::End { reason: data::<End>(event)?.reason },
            _ => Self::Other,
        })
    }
}

/// `POST /endings/probe`.
#[derive(Debug, Serialize)]
pub(crate) struct Probe<'a> {
    pub(crate) stream: &'a str,
    pub(crate) probe: u64,
    pub(crate) position: &'a Position,
    pub(crate) guard: Announcement<'a>,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    pub(crate) activity: &'a [(UserKey, i64)],
}

/// What a guard says about itself.
#[derive(Debug, Clone, Copy, Serialize)]
pub(crate) struct Announcement<'a> {
    pub(crate) name: &'a str,
    /// Tells it from others of its name, from its start to its end.
    pub(crate) instance: &'a str,
    pub(crate) lease_seconds: u8,
    pub(crate) stale: Stale,
}

/// The token endpoint's answer.
#[derive(Deserialize)]
pub(crate) struct TokenAnswer {
    pub(crate) access_token: String,
    pub(crate) expires_in: u64,
}

/// The introspection endpoint's answer, of which only this is read: the claims are in the token.
#[derive(Deserialize)]
pub(crate) struct Introspected {
    pub(crate) active: bool,
}

#[cfg(test)]
mod tests {
    use curfew_model::Sid;

    use super::*;

    fn parse(name: &str, data: &str) -> Result<FeedEvent, CutoffError> {
        FeedEvent::parse(&Event { name: name.into(), data: data.into() })
    }

    #[test]
    fn events_as_the_server_writes_them() {
        let position = |text| Position::parse(text).unwrap();
        assert_eq!(
            parse("hello", r#"{"stream":"s1","node":"n","position":"17.0.4","probe_seconds":1}"#),
            Ok(FeedEvent::Hello(Hello { stream: "s1".to_owned(), probe_seconds: 1 }))
        );
        let sid = "AQEBAQEBAQEBAQEBAgICAgICAgICAgIC";
        assert_eq!(
            parse(
                "ending",
                &format!(
                    r#"{{"cutoff":["session","{sid}",9],"lane":2,"position":18,"ending_id":"e","cause":"rp_logout","at":"2026-11-22T10:42:07.000Z"}}"#
                )
            ),
            Ok(FeedEvent::Ending {
                cutoff: Cutoff::Session { sid: Sid::parse(sid).unwrap(), until: 9 },
                lane: 2,
                position: 18
            })
        );
        assert_eq!(
            parse("echo", r#"{"probe":41,"position":"18.0.4"}"#),
            Ok(FeedEvent::Echo { probe: 41, position: position("18.0.4") })
        );
        let read = parse("position", r#"{"position":"18.0.4"}"#);
        assert_eq!(read, Ok(FeedEvent::Position(position("18.0.4"))));
        let read = parse("end", r#"{"reason":"stopping"}"#);
        assert_eq!(read, Ok(FeedEvent::End { reason: "stopping".to_owned() }));
        assert_eq!(parse("weather", "sunny"), Ok(FeedEvent::Other));
        let unknown = r#"{"cutoff":["new",1,2],"lane":0,"position":1}"#;
        assert_eq!(parse("ending", unknown), Err(CutoffError::UnknownKind));
        for data in ["", "{}", r#"{"cutoff":["user"],"lane":0,"position":1}"#, r#"{"cutoff":["new",1,2]}"#] {
            assert_eq!(parse("ending", data), Err(CutoffError::Malformed), "{data}");
        }
        assert_eq!(parse("echo", r#"{"probe":-1,"position":"1"}"#), Err(CutoffError::Malformed));
    }

    #[test]
    fn a_probe_as_the_server_reads_it() {
        let position = Position::parse("17.0.4").unwrap();
        let guard = Announcement {
            name: "orders-api-1",
            instance: "one",
            lease_seconds: 10,
            stale: Stale::Introspect,
        };
        let activity = [(UserKey([1; 12]), 1_795_219_300)];
        let probe = Probe { stream: "s1", probe: 41, position: &position, guard, activity: &activity };
        assert_eq!(
            serde_json::to_value(&probe).unwrap(),
            serde_json::json!({
                "stream": "s1", "probe": 41, "position": "17.0.4",
                "guard": {
                    "name": "orders-api-1", "instance": "one", "lease_seconds": 10, "stale": "introspect",
                },
                "activity": [["AQEBAQEBAQEBAQEB", 1_795_219_300]],
            })
        );
        let silent = serde_json::to_value(Probe { activity: &[], ..probe }).unwrap();
        assert!(silent.get("activity").is_none());
    }
}
