//! kill -9 of any process at any moment: the log goes on, and says what it missed.

use std::time::{Duration, Instant};

use system_tests::gateway_config::plan_text;
use system_tests::plant::machine_clock;

use crate::bed::{Bed, Engine};
use crate::gateway::{Gateway, MINUTE_MS};
use crate::proof::{self, Verifier};
use crate::reader::{Reader, last_day};

/// A small generator: what it gives follows from the seed alone.
struct Random(u64);

impl Random {
    fn new() -> Self {
        let seed = std::env::var("FIELDSEAL_TEST_SEED")
            .ok()
            .and_then(|seed| seed.parse().ok());
        let seed = seed.unwrap_or_else(|| machine_clock()().unsigned_abs());
        println!("FIELDSEAL_TEST_SEED={seed}");
        Self(seed | 1)
    }

    /// Below `limit`.
    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % limit
    }
}

/// Segments of the bed's gateways end at multiples of this.
const SEGMENT_MS: u64 = 10_000;

#[derive(Debug, Clone, Copy)]
enum Victim {
    Gateway,
    Collector,
    Api,
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_at_random_moments_nothing_is_lost_and_no_index_leaves_with_two_contents() {
    let victims = [Victim::Gateway, Victim::Collector, Victim::Api].repeat(5);
    killed(Engine::Sqlite, "KILLED", victims).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_holds_with_the_entries_in_postgresql() {
    let Ok(server) = std::env::var("FIELDSEAL_TEST_POSTGRES_URL") else {
        assert!(
            std::env::var("FIELDSEAL_SKIP_POSTGRES").is_ok_and(|skip| skip == "1"),
            "FIELDSEAL_TEST_POSTGRES_URL is not set: run tests/run, which starts a server, or set \
             FIELDSEAL_SKIP_POSTGRES=1 to leave the PostgreSQL half out"
        );
        println!("SKIPPED on PostgreSQL, because FIELDSEAL_SKIP_POSTGRES=1");
        return;
    };
    // One database serves many tests: the names tell them apart.
    let project = format!("KILLED-{}-{}", std::process::id(), machine_clock()());
    let victims = vec![
        Victim::Collector,
        Victim::Api,
        Victim::Collector,
        Victim::Gateway,
        Victim::Collector,
    ];
    killed(Engine::Postgres(server), &project, victims).await;
}

/// Waits for a random moment: any, or one when most is under way.
async fn choose_moment(bed: &Bed, victim: Victim, random: &mut Random) -> &'static str {
    // The tick that completes a segment is read in its last second; its answer seals the segment.
    let since = u64::try_from(machine_clock()() + 1_000).unwrap() % SEGMENT_MS;
    let sealing = SEGMENT_MS - since;
    if matches!(victim, Victim::Gateway) && sealing < 4_000 {
        tokio::time::sleep(Duration::from_millis(sealing + random.below(40))).await;
        return "a seal";
    }
    let any = Duration::from_millis(random.below(3_000));
    let shortly = Duration::from_millis(random.below(20));
    match tokio::time::timeout(any, bed.between.next_upload()).await {
        Ok(()) => {
            tokio::time::sleep(shortly).await;
            "an upload"
        }
        Err(_none) => "any moment",
    }
}

async fn killed(engine: Engine, project: &str, mut victims: Vec<Victim>) {
    let mut random = Random::new();
    for last in (1..victims.len()).rev() {
        let other = random.below(u64::try_from(last).unwrap() + 1);
        victims.swap(last, usize::try_from(other).unwrap());
    }
    let mut bed = Bed::start(engine).await;
    let (midnight, day) = last_day();
    let origin = format!("whole-path.test/gw/{}", project.to_lowercase());
    let (from_ms, to_ms) = (midnight - 5 * MINUTE_MS, midnight + MINUTE_MS);
    let mut gateway = Gateway::with_past(&bed, &origin, from_ms, to_ms).await;
    gateway.enrol(&bed).await;
    gateway.run().await;
    let plan = plan_text(project, "Killed", &gateway.origin, &gateway.vkey);
    let reader = Reader::of_plan(&bed, project, &plan).await;
    gateway.delivered(&bed, 1).await;

    let begun_ms = machine_clock()();
    let mut without_gateway = Duration::ZERO;
    let mut gateway_kills = 0;
    for (round, victim) in victims.iter().enumerate() {
        let moment = choose_moment(&bed, *victim, &mut random).await;
        let asked = matches!(victim, Victim::Api) && reader.ask(&bed, &day, &day).await;
        println!("round {round}: {victim:?} at {moment}, report under way: {asked}");
        match victim {
            Victim::Gateway => {
                let died = Instant::now();
                gateway.kill().await;
                gateway.run().await;
                without_gateway += died.elapsed();
                gateway_kills += 1;
            }
            Victim::Collector => {
                bed.kill_collector().await;
                tokio::time::sleep(Duration::from_millis(random.below(1_000))).await;
                bed.start_collector().await;
            }
            Victim::Api => {
                bed.kill_api().await;
                bed.start_api().await;
            }
        }
    }
    gateway.progress(&bed).await;
    gateway.stop().await;
    gateway.flush().await;

    let whole = proof::everywhere(&bed, &gateway).await;
    // What had been read before a kill is in the log: only the seconds without a gateway are
    // missing, with the tick under way at its end and at its beginning.
    let missed: Vec<_> = whole
        .gaps
        .iter()
        .filter(|gap| gap.from_ms >= begun_ms && gap.tick_ms == 1_000)
        .collect();
    let mut by_stream = std::collections::BTreeMap::<u16, u64>::new();
    for gap in &missed {
        *by_stream.entry(gap.stream).or_default() += gap.ticks;
    }
    println!("without a gateway {without_gateway:.1?}, declared {by_stream:?} ticks of 1 s");
    for ticks in by_stream.values() {
        assert!(
            *ticks <= without_gateway.as_secs() + 3 * gateway_kills,
            "{missed:?}"
        );
    }

    let (id, _) = reader.report(&bed, &day, &day).await;
    let bundle = reader.bundle(&bed, &id).await;
    let verifier = Verifier {
        bed: &bed,
        plan: &plan,
        gateways: &[&gateway],
        from: &day,
        to: &day,
    };
    let verdict = verifier.accept(&bundle).await;
    println!(
        "the bundle holds entries up to {}",
        verdict["logs"][0]["size"]
    );
    bed.stop_collector().await;
}
