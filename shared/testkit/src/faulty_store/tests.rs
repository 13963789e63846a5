use super::*;
use crate::MemoryStore;

fn item(bytes: &str) -> Item {
    Item { bytes: bytes.as_bytes().to_vec(), expires_at: None }
}

fn with(fault: Fault) -> FaultyStore<MemoryStore> {
    FaultyStore::new(MemoryStore::new(), move |_: &Call| fault)
}

#[tokio::test]
async fn a_put_happens_or_not_and_reports_or_not() {
    for (fault, happens, reports) in [
        (Fault::None, true, true),
        (Fault::Lost, true, false),
        (Fault::Vanished, false, false),
        (Fault::Refused, false, true),
    ] {
        let store = with(fault);
        let answer = store.put_new("p", "a", item("1")).await;
        assert_eq!(!store.inner().rows().is_empty(), happens, "{fault:?}");
        assert_eq!(!matches!(answer, Err(StoreError::Unknown { .. })), reports, "{fault:?}");
    }
}

#[tokio::test]
async fn a_read_whose_answer_is_lost_is_refused() {
    for fault in [Fault::Lost, Fault::Vanished, Fault::Refused] {
        let store = with(fault);
        assert!(matches!(store.last("p").await, Err(StoreError::Refused { .. })));
        let range = store.range("p", "", Limits::NONE).await;
        assert!(matches!(range, Err(StoreError::Refused { .. })));
    }
}

#[tokio::test]
async fn a_crash_ends_the_process_before_or_after_the_call() {
    for (fault, happens) in [(Fault::CrashBefore, false), (Fault::CrashAfter, true)] {
        let store = with(fault);
        let mut process = store.put_new("p", "a", item("1"));
        let Step::Crashed(call) = store.step(&mut process).await else { panic!("{fault:?}") };
        drop(process);
        assert_eq!((call.number, call.verb, &call.sk[..]), (0, Verb::PutNew, "a"));
        assert_eq!(!store.inner().rows().is_empty(), happens, "{fault:?}");
        store.heal();
        let mut next = store.last("p");
        assert!(matches!(store.step(&mut next).await, Step::Done(Ok(_))));
    }
}

#[tokio::test]
async fn a_stalled_put_happens_when_it_is_resumed() {
    let store = with(Fault::Stall);
    let mut process = store.put_new("p", "a", item("stalled"));
    let Step::Stalled(call) = store.step(&mut process).await else { panic!("it should stall") };
    assert_eq!(store.stalled(), std::slice::from_ref(&call));
    // Meanwhile another process wins the key.
    let rival = store.inner().clone();
    assert_eq!(rival.put_new("p", "a", item("rival")).await, Ok(Put::Created));
    assert!(store.resume(call.number) && !store.resume(99));
    assert_eq!(store.step(&mut process).await, Step::Done(Ok(Put::AlreadyExists)));
    assert_eq!(store.stalled(), []);
}

#[tokio::test]
async fn a_dropped_process_stalls_no_more() {
    let store = with(Fault::Stall);
    let mut process = store.put_new("p", "a", item("1"));
    assert!(matches!(store.step(&mut process).await, Step::Stalled(_)));
    drop(process);
    assert_eq!(store.stalled(), []);
    assert!(store.inner().rows().is_empty());
}

#[tokio::test]
async fn the_same_seed_gives_the_same_faults() {
    async fn run(seed: u64) -> Vec<(Call, Fault)> {
        let store = FaultyStore::new(MemoryStore::new(), RandomFaults::new(seed));
        for n in 0..400 {
            let sk = n.to_string();
            let mut process = Box::pin(async {
                let _ = store.put_new("p", &sk, item("1")).await;
                let _ = store.last("p").await;
            });
            while let Step::Stalled(call) = store.step(&mut process).await {
                assert!(store.resume(call.number));
            }
        }
        store.history()
    }
    let history = run(5).await;
    assert_eq!(history, run(5).await);
    assert_ne!(history, run(6).await);
    for fault in [
        Fault::None,
        Fault::Lost,
        Fault::Vanished,
        Fault::Refused,
        Fault::Stall,
        Fault::CrashBefore,
        Fault::CrashAfter,
    ] {
        assert!(history.iter().any(|(_, of)| *of == fault), "{fault:?} never happened");
    }
    let stalled_read = |(call, fault): &(Call, Fault)| {
        *fault == Fault::Stall && !matches!(call.verb, Verb::PutNew | Verb::Expire)
    };
    assert!(!history.iter().any(stalled_read));
}
