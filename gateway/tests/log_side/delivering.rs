//! Delivery over real TLS: in order, once, with the same bytes, and only verified cosignatures count.

use std::sync::Arc;

use evidence::cosigner::Cosigner;
use evidence::entry::FreshnessKind;
use evidence::hash::sha256;
use evidence::note::{Note, NoteSignature, Vkey};
use evidence::segment::ConfigInForce;
use gateway::buffer::LogReader;
use gateway::clock::{Clock as _, ManualClock};
use gateway::collector as client;
use gateway::delivery::{Delivery, DeliveryParts, HeadState, Outcome, Progress};
use gateway::enrol::{self, EnrolError, Enrolment, Turn};
use gateway::live::{self, LiveTable};
use gateway::recorder::Recorder;
use gateway::tls::Pin;
use ring::rand::SystemRandom;

use crate::collector::{Collector, Mood, TOKEN, until};
use crate::support::{MARCH, Site, samples, seconds, table};

struct Fixture {
    site: Site,
    collector: Collector,
    recorder: Recorder,
    outcome: Outcome,
    delivery: Delivery,
}

async fn fixture() -> Fixture {
    let site = Site::new(ManualClock::trusted(MARCH, 5_000));
    let collector = Collector::start(&site.settings.origin);
    let mut recorder = site.start().await;
    seconds(&mut recorder, &site.clock, 45).await;
    let outcome = Outcome::load(site.dir.path());
    let delivery = delivery(&site, &collector, &recorder, &outcome, collector.pin);
    Fixture {
        site,
        collector,
        recorder,
        outcome,
        delivery,
    }
}

fn delivery(
    site: &Site,
    collector: &Collector,
    recorder: &Recorder,
    outcome: &Outcome,
    pin: Pin,
) -> Delivery {
    witnessed(site, collector, recorder, outcome, pin, Vec::new())
}

/// A delivery of a gateway that knows these independent witnesses.
fn witnessed(
    site: &Site,
    collector: &Collector,
    recorder: &Recorder,
    outcome: &Outcome,
    pin: Pin,
    independent: Vec<Vkey>,
) -> Delivery {
    let clock = Arc::new(site.clock.clone());
    let token = Some(TOKEN.to_owned());
    let origin = &site.settings.origin;
    Delivery::new(DeliveryParts {
        collector: client::Collector::new(
            &collector.config(),
            origin,
            Some(pin),
            token,
            Arc::<ManualClock>::clone(&clock),
        )
        .unwrap(),
        origin: origin.clone(),
        independent,
        witness: collector.witness.clone(),
        reader: recorder.reader(),
        released: recorder.released(),
        outcome: outcome.clone(),
        data_dir: site.dir.path().to_owned(),
        clock,
        random: Arc::new(SystemRandom::new()),
    })
}

/// Steps until nothing is left to send; fails on a wait.
async fn drain(delivery: &mut Delivery) {
    loop {
        match delivery.step().await {
            Progress::Idle => return,
            Progress::Sent(_) => {}
            Progress::Wait(ms) => panic!("the delivery waits {ms} ms"),
        }
    }
}

async fn assert_same_bytes(site: &Site, collector: &Collector) {
    let mut reader = LogReader::of_dir(&site.log_dir()).await.unwrap();
    let stored = collector.inner().entries.clone();
    for (index, (entry, payload)) in (0_u64..).zip(stored) {
        let row = reader.row(index).await.unwrap().unwrap();
        assert_eq!(row.entry, entry);
        assert_eq!(row.payload.unwrap_or_default(), payload.unwrap_or_default());
    }
}

#[tokio::test]
async fn everything_sealed_arrives_in_order_and_is_remembered_as_acknowledged() {
    let mut f = fixture().await;
    drain(&mut f.delivery).await;
    let size = f.recorder.status().size;
    assert_eq!(f.collector.inner().chain.size(), size);
    assert_eq!(f.collector.inner().chain.root(), f.recorder.status().root);
    assert_eq!(f.outcome.snapshot().acknowledged, size);
    assert_eq!(f.outcome.snapshot().cosigned_unix_s, Some(1_772_323_300));
    assert_same_bytes(&f.site, &f.collector).await;
    let again = Outcome::load(f.site.dir.path());
    assert_eq!(again.snapshot().acknowledged, size, "also after a restart");
    seconds(&mut f.recorder, &f.site.clock, 20).await;
    drain(&mut f.delivery).await;
    assert_eq!(f.collector.inner().chain.size(), f.recorder.status().size);
}

#[tokio::test]
async fn a_collector_that_is_busy_lost_or_talks_nonsense_costs_nothing() {
    let mut f = fixture().await;
    drain(&mut f.delivery).await;
    for mood in [
        Mood::Busy,
        Mood::Nonsense,
        Mood::AnswerLost,
        Mood::WrongKey,
        Mood::OtherCheckpoint,
    ] {
        seconds(&mut f.recorder, &f.site.clock, 20).await;
        let before = f.outcome.snapshot().acknowledged;
        f.collector.set(mood);
        let Progress::Wait(ms) = f.delivery.step().await else {
            panic!("{mood:?} was accepted")
        };
        assert!(ms <= 60_000, "{mood:?}: {ms}");
        if mood == Mood::Busy {
            assert!(ms >= 7_000, "Retry-After counts");
        }
        let status = f.outcome.snapshot();
        assert_eq!(status.acknowledged, before, "{mood:?} acknowledges nothing");
        assert!(status.error.is_some() && !status.refused, "{mood:?}");
        f.collector.set(Mood::Good);
        // Where the collector had stored it all the same, it says so (409) and delivery goes on there.
        for _ in 0..4 {
            if f.delivery.step().await == Progress::Idle {
                break;
            }
        }
        let size = f.recorder.status().size;
        assert_eq!(f.collector.inner().chain.size(), size, "{mood:?}");
        assert_eq!(f.outcome.acknowledged.borrow().max(size), size);
    }
    assert_same_bytes(&f.site, &f.collector).await;
}

#[tokio::test]
async fn a_collector_that_lost_entries_gets_the_same_bytes_again() {
    let mut f = fixture().await;
    drain(&mut f.delivery).await;
    let before = f.collector.inner().entries.clone();
    f.collector.roll_back(3);
    seconds(&mut f.recorder, &f.site.clock, 20).await;
    assert!(matches!(f.delivery.step().await, Progress::Wait(_)));
    drain(&mut f.delivery).await;
    let after = f.collector.inner().entries.clone();
    assert_eq!(after[..before.len()], before);
    assert_eq!(f.collector.inner().chain.size(), f.recorder.status().size);
}

#[tokio::test]
async fn a_permanent_refusal_stops_sending_for_an_hour_and_shows_its_reason() {
    let mut f = fixture().await;
    f.collector.set(Mood::Refuses);
    assert_eq!(f.delivery.step().await, Progress::Wait(3_600_000));
    let status = f.outcome.snapshot();
    assert!(
        status.refused
            && status
                .error
                .unwrap()
                .contains("this log belongs to no site")
    );
    let size = f.recorder.status().size;
    seconds(&mut f.recorder, &f.site.clock, 20).await;
    assert!(f.recorder.status().size > size, "sealing goes on");
    f.collector.set(Mood::Good);
    drain(&mut f.delivery).await;
    assert!(!f.outcome.snapshot().refused);
}

#[tokio::test]
async fn a_collector_that_is_ahead_or_elsewhere_is_named_and_nothing_is_sent() {
    let mut f = fixture().await;
    drain(&mut f.delivery).await;
    // The device's copy of an hour ago: the same identity, a shorter log.
    let mut other = Site::new(ManualClock::trusted(MARCH, 5_000));
    other.os_boot = "another machine".to_owned();
    std::fs::remove_dir_all(other.dir.path().join("keys")).unwrap();
    copy_dir(
        &f.site.dir.path().join("keys"),
        &other.dir.path().join("keys"),
    );
    let recorder = other.start().await;
    let outcome = Outcome::load(other.dir.path());
    let mut delivery = delivery(&other, &f.collector, &recorder, &outcome, f.collector.pin);
    let uploads = f.collector.inner().uploads;
    assert_eq!(delivery.step().await, Progress::Wait(3_600_000));
    assert_eq!(outcome.snapshot().head, HeadState::Ahead);
    assert!(outcome.snapshot().error.unwrap().contains("restore"));
    assert_eq!(f.collector.inner().uploads, uploads);
    let mut recorder = recorder;
    seconds(&mut recorder, &other.clock, 100).await;
    assert_eq!(delivery.step().await, Progress::Wait(3_600_000));
    assert_eq!(outcome.snapshot().head, HeadState::Forked);
    assert_eq!(f.collector.inner().uploads, uploads);
}

fn copy_dir(from: &std::path::Path, to: &std::path::Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        std::fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
    }
}

#[tokio::test]
async fn a_wrong_pin_never_sends_a_byte_also_in_1970() {
    for clock in [
        ManualClock::unset(20_000),
        ManualClock::trusted(MARCH, 20_000),
    ] {
        let site = Site::new(clock);
        let collector = Collector::start(&site.settings.origin);
        let recorder = site.start().await;
        let outcome = Outcome::load(site.dir.path());
        let mut wrong = delivery(&site, &collector, &recorder, &outcome, Pin([1; 32]));
        assert!(matches!(wrong.step().await, Progress::Wait(_)));
        assert_eq!(collector.inner().uploads, 0);
        let mut right = delivery(&site, &collector, &recorder, &outcome, collector.pin);
        drain(&mut right).await;
        assert_eq!(collector.inner().chain.size(), recorder.status().size);
    }
}

#[tokio::test]
async fn only_a_verified_trail_note_is_pinned_in_the_next_entries() {
    let mut f = fixture().await;
    f.collector.set(Mood::BadTrail);
    drain(&mut f.delivery).await;
    assert_eq!(*f.outcome.freshness.borrow(), None);
    f.collector.set(Mood::Good);
    seconds(&mut f.recorder, &f.site.clock, 10).await;
    let trail = {
        let mut inner = f.collector.inner();
        let trail = inner.note_text();
        inner.trail = Some(trail.clone());
        trail
    };
    drain(&mut f.delivery).await;
    let freshness = f.outcome.freshness.borrow().unwrap();
    assert_eq!(freshness.kind, FreshnessKind::CosignedNote);
    assert_eq!(freshness.hash, sha256(trail.as_bytes()));
    f.recorder.set_freshness(freshness);
    seconds(&mut f.recorder, &f.site.clock, 10).await;
    f.recorder.close().await.unwrap();
    let pinned = f.site.whole().await.last().unwrap().entry.freshness;
    assert_eq!(pinned, Some(freshness));
}

#[tokio::test]
async fn with_witnesses_of_its_own_a_gateway_pins_what_one_of_them_signed_and_nothing_else() {
    let f = fixture().await;
    let mut recorder = f.recorder;
    let random = SystemRandom::new();
    let (witness, _line) = Cosigner::generate("witness.example/w1", &random).unwrap();
    let (other, _line) = Cosigner::generate("witness.example/w1", &random).unwrap();
    let keys = vec![witness.vkey().clone()];
    let (site, collector, outcome) = (f.site, f.collector, f.outcome);
    let mut delivery = witnessed(&site, &collector, &recorder, &outcome, collector.pin, keys);
    drain(&mut delivery).await;
    let now_s = site.clock.now().unix_ms / 1000;
    let note = Note::parse(collector.inner().note_text().as_bytes()).unwrap();
    let with = |lines: Vec<NoteSignature>| {
        let mut note = note.clone();
        note.signatures.extend(lines);
        String::from_utf8(note.to_bytes()).unwrap()
    };
    let mut broken = witness.cosign(&note.text, now_s);
    broken.bytes[40] ^= 1;
    let mut collector_missing = note.clone();
    collector_missing.signatures = vec![witness.cosign(&note.text, now_s)];
    let collector_missing = String::from_utf8(collector_missing.to_bytes()).unwrap();
    for refused in [
        with(Vec::new()),
        with(vec![other.cosign(&note.text, now_s)]),
        with(vec![broken]),
        with(vec![witness.cosign(&note.text, now_s + 700)]),
        collector_missing,
    ] {
        collector.inner().trail = Some(refused.clone());
        seconds(&mut recorder, &site.clock, 10).await;
        drain(&mut delivery).await;
        assert_eq!(*outcome.freshness.borrow(), None, "{refused}");
    }
    let good = with(vec![witness.cosign(&note.text, now_s)]);
    collector.inner().trail = Some(good.clone());
    seconds(&mut recorder, &site.clock, 10).await;
    drain(&mut delivery).await;
    let pinned = outcome.freshness.borrow().unwrap();
    assert_eq!(pinned.hash, sha256(good.as_bytes()));
}

#[tokio::test]
#[expect(clippy::disallowed_methods, reason = "a test's own file")]
async fn an_enrolment_whose_answer_was_lost_is_asked_again_with_the_same_words() {
    let site = Site::new(ManualClock::trusted(MARCH, 5_000));
    let collector = Collector::start(&site.settings.origin);
    let recorder = site.start().await;
    let first = recorder.reader().row(0).await.unwrap().unwrap();
    let vkey = recorder.log().identity().vkey();
    let ask = || {
        let clock = Arc::new(site.clock.clone());
        let (dir, origin) = (site.dir.path(), &site.settings.origin);
        let (first, vkey, config) = (&first, &vkey, collector.config());
        async move {
            let turn = Turn::take(dir).await?;
            enrol::enrol(&turn, dir, origin, vkey, first, &config, clock).await
        }
    };
    assert!(matches!(ask().await, Err(EnrolError::NothingPending)));
    enrol::keep_code(site.dir.path(), &collector.code()).unwrap();
    collector.set(Mood::AnswerLost);
    assert!(ask().await.is_err());
    assert!(enrol::is_pending(site.dir.path()));
    collector.set(Mood::Good);
    // The command and the running gateway at once: a second token would make the first one worthless.
    let (enrolment, other) = tokio::join!(ask(), ask());
    let enrolment = enrolment.unwrap();
    assert_eq!(enrolment, other.unwrap());
    assert_eq!(enrolment.token, TOKEN);
    assert_eq!(enrolment.pin(), Some(collector.pin));
    assert!(!enrol::is_pending(site.dir.path()));
    assert_eq!(Enrolment::load(site.dir.path()).unwrap(), Some(enrolment));
    let asked = collector.inner().enrolments.clone();
    assert_eq!(asked.len(), 2);
    assert_eq!(asked[0], asked[1]);
    // Until the collector has acknowledged something, another code may replace the token.
    enrol::keep_code(site.dir.path(), &collector.code()).unwrap();
    let memory = br#"{"acknowledged":1,"cosigned_unix_s":null}"#;
    std::fs::write(site.dir.path().join("delivery.json"), memory).unwrap();
    let again = enrol::keep_code(site.dir.path(), &collector.code());
    assert!(matches!(again, Err(EnrolError::Enrolled)));
}

#[tokio::test]
async fn a_used_code_is_refused_and_forgotten() {
    let site = Site::new(ManualClock::trusted(MARCH, 5_000));
    let collector = Collector::start(&site.settings.origin);
    let recorder = site.start().await;
    let first = recorder.reader().row(0).await.unwrap().unwrap();
    enrol::keep_code(site.dir.path(), &collector.code()).unwrap();
    collector.set(Mood::Refuses);
    let clock = Arc::new(site.clock.clone());
    let vkey = recorder.log().identity().vkey();
    let origin = &site.settings.origin;
    let config = collector.config();
    let turn = Turn::take(site.dir.path()).await.unwrap();
    let refused = enrol::enrol(
        &turn,
        site.dir.path(),
        origin,
        &vkey,
        &first,
        &config,
        clock,
    );
    let text = refused.await.unwrap_err().to_string();
    assert!(text.contains("E11") && text.contains("used"), "{text}");
    assert!(!enrol::is_pending(site.dir.path()));
}

#[tokio::test]
async fn live_values_are_posted_fast_only_while_somebody_watches() {
    let site = Site::new(ManualClock::trusted(MARCH, 5_000));
    let collector = Collector::start(&site.settings.origin);
    let clock = Arc::new(site.clock.clone());
    let token = Some(TOKEN.to_owned());
    let origin = &site.settings.origin;
    let client = client::Collector::new(
        &collector.config(),
        origin,
        Some(collector.pin),
        token,
        Arc::<ManualClock>::clone(&clock),
    )
    .unwrap();
    let in_force = Arc::new(ConfigInForce::new(table(), 1));
    let live_table = Arc::new(LiveTable::new(Some(in_force)));
    let released = tokio::sync::watch::Sender::new(0);
    let watching = tokio::sync::watch::Sender::new(0);
    let task = tokio::spawn(live::run(
        Arc::clone(&live_table),
        client,
        released.subscribe(),
        watching.subscribe(),
        clock,
    ));
    let posts = || collector.inner().live.len();
    live_table.update(&samples(7).samples, Some(7_000));
    released.send_replace(1);
    until("a post with the segment", || posts() == 1).await;
    // Nobody watches: new values alone do not travel, however much time passes.
    for _ in 0..20 {
        live_table.update(&samples(8).samples, Some(8_000));
        site.clock.advance(2_000);
        tokio::task::yield_now().await;
    }
    assert_eq!(posts(), 1);
    collector.inner().watch_for_s = 60;
    watching.send_replace(60);
    until("a post because somebody watches", || {
        live_table.update(&samples(9).samples, Some(9_000));
        posts() == 2
    })
    .await;
    live_table.update(&samples(10).samples, Some(10_000));
    site.clock.advance(2_000);
    until("the next post after two seconds", || posts() == 3).await;
    let last = collector.inner().live[2].clone();
    assert_eq!(last["points"][0]["name"], "energy");
    assert_eq!(last["points"][0]["value"], "10");
    assert_eq!(last["points"][0]["tick_unix_ms"], 10_000);
    assert_eq!(last["unix_ms"], site.clock.now().unix_ms);
    task.abort();
}
