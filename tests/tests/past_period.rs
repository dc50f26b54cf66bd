//! A past period is made by the gateway's own code and says exactly what the plant did.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::time::Instant;

use evidence::chain::Chain;
use evidence::hash::Hash;
use gateway::buffer::LogReader;
use gateway::config::GatewayConfig;
use gateway::recorder::Software;
use system_tests::gateway_config::{CO2_MASS_POINT, GatewayFile, Points};
use system_tests::history::{History, HistoryError, Made};
use system_tests::site::{COMMISSIONED_UNIX_MS, Site};

const DAY_MS: u64 = 86_400_000;

fn config(directory: &Path) -> GatewayConfig {
    let file = GatewayFile {
        origin: "example.com/gw/past".to_owned(),
        data_dir: directory.join("gateway"),
        collector: None,
        segment_s: 300,
        interval_s: 10,
        modbus: [1, 2].map(|port| SocketAddr::from((Ipv4Addr::LOCALHOST, port))),
        mqtt_port: 3,
        points: Points::Plan,

        clock_source: None,
    };
    GatewayConfig::parse("gateway.toml", &file.text()).unwrap()
}

fn history(directory: &Path, days: u64) -> History {
    let from_ms = u64::try_from(COMMISSIONED_UNIX_MS).unwrap() + 60 * DAY_MS;
    History {
        config: config(directory),
        from_ms,
        to_ms: from_ms + days * DAY_MS,
        publish_every_ms: 60_000,
    }
}

async fn make(history: &History) -> Result<Made, HistoryError> {
    let software = Software {
        version: "test".to_owned(),
        binary: Hash([1; 32]),
    };
    history.make(&Site::new(11), software, |_| {}).await
}

#[tokio::test]
async fn a_past_day_verifies_and_ends_at_the_plants_own_counters() {
    let directory = tempfile::tempdir().unwrap();
    let history = history(directory.path(), 1);
    let begun = Instant::now();
    let made = make(&history).await.unwrap();
    println!(
        "one day of {} samples in {} entries: {:.1} s",
        made.samples,
        made.entries,
        begun.elapsed().as_secs_f64()
    );
    assert_eq!(made.samples, 8_640 * 4 + 1_440);

    let mut reader = LogReader::of_dir(&history.config.data_dir.join("log"))
        .await
        .unwrap();
    assert_eq!(reader.bounds(), (0, made.entries));
    let mut chain = Chain::new(history.config.origin.clone());
    let mut last_injected = None;
    let mut ticks = 0;
    let mut gas = 0;
    while chain.size() < made.entries {
        for row in reader
            .rows(chain.size(), made.entries, 1_000, usize::MAX)
            .await
            .unwrap()
        {
            let applied = chain.apply(&row.entry, row.payload.as_deref()).unwrap();
            let Some(segment) = applied.segment else {
                continue;
            };
            for column in &segment.columns {
                assert_eq!(column.exceptions, [], "{:?}", segment.ticks);
                let name = &segment.config.config.points[usize::from(column.point)].name;
                if name == "well-1.injected" {
                    ticks += segment.ticks.count;
                    last_injected = column.values.last().copied();
                } else if name == CO2_MASS_POINT {
                    gas += column.values.len();
                }
            }
        }
    }
    assert_eq!(ticks, 8_640);
    assert_eq!(gas, 1_440);
    // The last tick began ten seconds before the end.
    let end = i64::try_from(history.to_ms).unwrap();
    let state = Site::new(11).state_at(end - 10_000);
    assert_eq!(last_injected, Some(state.wells[0].injected_g / 1_000));
}

#[tokio::test]
async fn a_period_of_broken_ticks_and_a_second_log_in_one_directory_are_refused() {
    let directory = tempfile::tempdir().unwrap();
    let mut history = history(directory.path(), 1);
    history.to_ms = history.from_ms + 15_000;
    let refused = make(&history).await.unwrap_err();
    assert!(matches!(refused, HistoryError::Period { .. }), "{refused}");
    history.to_ms = history.from_ms + 60_000;
    make(&history).await.unwrap();
    let refused = make(&history).await.unwrap_err();
    assert!(matches!(refused, HistoryError::Identity(_)), "{refused}");
}
