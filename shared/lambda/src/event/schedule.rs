//! A schedule's event (EventBridge): it says when it was due. Whatever else invokes advance, such as
//! a person with `{}`, is as good: advance reads nothing else of it.

use jiff::Timestamp;
use serde::Deserialize;
use tidemill_model::WallMs;

use super::{EventError, FromMembers, Text};

/// What a schedule says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Schedule {
    /// When it was due; `None`: it does not say.
    pub due: Option<WallMs>,
}

/// The event's members.
#[doc(hidden)]
#[derive(Debug, Deserialize)]
pub struct Members<'a> {
    #[serde(borrow)]
    time: Option<Text<'a>>,
}

impl FromMembers for Schedule {
    type Members<'de> = Members<'de>;

    fn from_members(members: Members<'_>) -> Result<Schedule, EventError> {
        let due = members.time.and_then(|time| time.0.parse::<Timestamp>().ok());
        Ok(Schedule { due: due.map(|due| WallMs(due.as_millisecond())) })
    }
}

#[cfg(test)]
mod tests {
    use super::super::Event;
    use super::*;
    use aws_lambda_events::eventbridge::EventBridgeEvent;

    fn due(json: &str) -> Option<WallMs> {
        Event::<Schedule>::read(json.as_bytes()).0.unwrap().due
    }

    #[test]
    fn a_schedule_says_when_it_was_due() {
        let json = r#"{"version":"0","id":"53dc","detail-type":"Scheduled Event",
            "source":"aws.events","account":"123456789012","time":"2015-10-08T16:53:06Z",
            "region":"us-east-1","resources":[],"detail":{}}"#;
        let peer: EventBridgeEvent = serde_json::from_str(json).unwrap();
        assert_eq!(due(json).unwrap().0, peer.time.unwrap().timestamp_millis());
    }

    #[test]
    fn any_other_event_is_due_at_no_time() {
        for json in ["{}", r#"{"time":"soon"}"#, r#"{"time":null,"x":[1]}"#] {
            assert_eq!(due(json), None, "{json}");
        }
        assert!(Event::<Schedule>::read(b"nonsense").0.is_err());
    }
}
