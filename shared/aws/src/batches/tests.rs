use std::sync::Mutex;

use tidemill_flow::ports::SinkError;

use super::*;

/// A service that refuses what its script says, request by request.
struct Service {
    /// For each request the items that it refuses; what follows the last request takes all.
    script: Mutex<Vec<Vec<&'static str>>>,
    /// The items of each request.
    requests: Mutex<Vec<Vec<String>>>,
}

impl Service {
    /// The script's requests, in order.
    fn new(script: &[&[&'static str]]) -> Service {
        let script = script.iter().rev().map(|refused| refused.to_vec()).collect();
        Service { script: Mutex::new(script), requests: Mutex::default() }
    }

    fn requests(&self) -> Vec<String> {
        self.requests.lock().unwrap().iter().map(|items| items.join(" ")).collect()
    }
}

#[async_trait]
impl Transport for Service {
    type Item = String;
    type Error = SinkError;

    async fn send(&self, batch: &[&Entry<String>]) -> Result<Vec<Refused>, SinkError> {
        let items: Vec<String> = batch.iter().map(|entry| entry.item.clone()).collect();
        let script = self.script.lock().unwrap().pop().unwrap_or_default();
        let refused = items.iter().enumerate().filter(|(_, item)| script.contains(&item.as_str()));
        let refused = refused.map(|(index, _)| Refused { index, said: "slow down".to_string() });
        let refused = refused.collect();
        self.requests.lock().unwrap().push(items);
        Ok(refused)
    }

    fn stuck(&self, said: &str) -> SinkError {
        SinkError { sink: "s".to_string(), reason: said.to_string() }
    }
}

/// Entries `a1 b1 a2`: the letter is the key.
fn entries(text: &str) -> Vec<Entry<String>> {
    let entry =
        |item: &str| Entry { key: item[..1].to_string(), bytes: 10, item: item.to_string() };
    text.split_whitespace().map(entry).collect()
}

const BOUNDS: Bounds = Bounds { entries: 3, bytes: 1000, at_once: 1 };

#[tokio::test]
async fn a_request_holds_no_key_twice_and_keys_stay_in_order() {
    let service = Service::new(&[]);
    send_all(&service, BOUNDS, &entries("a1 b1 a2 c1 d1 b2 a3")).await.unwrap();
    assert_eq!(service.requests(), ["a1 b1 c1", "d1", "a2 b2", "a3"]);
}

#[tokio::test]
async fn what_is_refused_is_sent_again_before_later_entries_of_its_key() {
    let service = Service::new(&[&["a1", "c1"], &["a1"]]);
    send_all(&service, BOUNDS, &entries("a1 b1 c1 a2 b2")).await.unwrap();
    assert_eq!(service.requests(), ["a1 b1 c1", "a1 c1", "a1", "a2 b2"]);
}

#[tokio::test]
async fn a_request_is_bounded_in_bytes_but_for_one_large_entry() {
    let mut all = entries("a1 b1 c1 d1");
    all[2].bytes = 5000;
    let service = Service::new(&[]);
    send_all(&service, Bounds { bytes: 20, ..BOUNDS }, &all).await.unwrap();
    assert_eq!(service.requests(), ["a1 b1", "c1", "d1"]);
}

#[tokio::test]
async fn patience_ends_only_when_nothing_is_taken() {
    // One of two is taken again and again: more rounds than patience has.
    let text: Vec<String> = (b'a'..=b'z').map(|key| format!("{}1", key as char)).collect();
    let all = entries(&text.join(" "));
    let slow: Vec<Vec<&'static str>> = (1..26)
        .map(|taken| {
            let rest = &text[taken..];
            rest.iter().map(|item| &*Box::leak(item.clone().into_boxed_str())).collect()
        })
        .collect();
    let script: Vec<&[&'static str]> = slow.iter().map(Vec::as_slice).collect();
    let service = Service::new(&script);
    send_all(&service, Bounds { entries: 26, ..BOUNDS }, &all).await.unwrap();
    assert_eq!(service.requests().len(), 26);

    let service = Service::new(&[&["a1"] as &[&'static str]; 100]);
    let error = send_all(&service, BOUNDS, &entries("a1 b1 a2")).await.unwrap_err();
    assert_eq!(error.reason, "slow down");
    let requests = service.requests();
    // The first attempt took b1, so that patience began after it.
    assert_eq!(requests.len(), 1 + FRUITLESS_MAX, "{requests:?}");
    assert!(requests[1..].iter().all(|request| request == "a1"), "{requests:?}");
}

#[tokio::test]
async fn an_epoch_of_very_many_entries_of_one_key_has_bounded_rounds() {
    let count = 2 * ROUNDS_MAX + 1;
    let all: Vec<Entry<String>> = (0..count)
        .map(|n| Entry { key: "a".to_string(), bytes: 1, item: format!("{n}") })
        .collect();
    let service = Service::new(&[&["1"], &["0"]]);
    send_all(&service, BOUNDS, &all).await.unwrap();
    let requests = service.requests();
    assert!(requests.len() <= ROUNDS_MAX + 2, "{}", requests.len());
    // What follows a refused one of its key is sent again too, so that the last of each are in
    // order; what precedes it is not.
    assert_eq!(requests[..4], ["0 1 2", "1 2", "3 4 5", "6 7 8"]);
}

#[tokio::test]
async fn batches_that_share_a_key_are_not_sent_at_once() {
    let count = 2 * ROUNDS_MAX + 1;
    let all: Vec<Entry<String>> = (0..count)
        .map(|n| Entry { key: "a".to_string(), bytes: 1, item: format!("{n}") })
        .collect();
    let service = Service::new(&[&["0"]]);
    send_all(&service, Bounds { entries: 1, at_once: 8, ..BOUNDS }, &all).await.unwrap();
    assert_eq!(service.requests()[..4], ["0", "0", "1", "2"]);
}

#[tokio::test]
async fn batches_of_different_keys_do_not_wait_for_each_other() {
    let service = Service::new(&[&["a1"]]);
    let bounds = Bounds { entries: 1, at_once: 2, ..BOUNDS };
    send_all(&service, bounds, &entries("a1 b1 c1")).await.unwrap();
    assert_eq!(service.requests(), ["a1", "b1", "c1", "a1"]);
}

#[tokio::test]
async fn what_need_not_stay_in_order_is_sent_in_turn_and_not_twice() {
    let service = Service::new(&[&["a1"], &["b1"]]);
    send_once(&service, BOUNDS, &entries("a1 b1 a2 c1 b2")).await.unwrap();
    assert_eq!(service.requests(), ["a1 b1 a2", "a1", "c1 b2"]);
    let service = Service::new(&[&["a1", "a2"]]);
    send_once(&service, BOUNDS, &entries("a1 b1 a2 c1")).await.unwrap();
    assert_eq!(service.requests(), ["a1 b1 a2", "a1 a2", "c1"]);
}
