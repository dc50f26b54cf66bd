//! The plant's MQTT sensors: a gas analyser that publishes JSON and a thermometer that publishes
//! a plain number.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rumqttc::{AsyncClient, Event, MqttOptions, Packet, QoS};
use tokio::task::JoinHandle;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use crate::modbus_server::Now;
use crate::site::{Site, SiteState};

/// Where the analyser publishes `{"co2_mass_pct":…,"co2_mol_pct":…,"n2_mol_pct":…,"h2o_mol_pct":…,
/// "measured_unix_ms":…}`.
pub const GAS_TOPIC: &str = "plant/analyser/gas";
/// Where the thermometer publishes degrees Celsius as a plain number.
pub const AMBIENT_TOPIC: &str = "plant/weather/ambient_c";

/// Returns the analyser's message at a state.
pub fn gas_message(state: &SiteState) -> String {
    let gas = state.gas;
    format!(
        r#"{{"co2_mass_pct":{},"co2_mol_pct":{},"n2_mol_pct":{},"h2o_mol_pct":{},"measured_unix_ms":{}}}"#,
        hundredths(gas.co2_mass_centi_pct()),
        hundredths(gas.co2_centi_pct),
        hundredths(gas.n2_centi_pct),
        hundredths(gas.h2o_centi_pct),
        state.unix_ms,
    )
}

/// Returns the thermometer's message at a state.
pub fn ambient_message(state: &SiteState) -> String {
    hundredths(state.ambient_centi_c)
}

fn hundredths(value: i64) -> String {
    let sign = if value < 0 { "-" } else { "" };
    let value = value.unsigned_abs();
    format!("{sign}{}.{:02}", value / 100, value % 100)
}

/// Both sensors, publishing until they are dropped or stopped.
#[derive(Debug)]
pub struct Publisher {
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl Publisher {
    /// Starts publishing to a broker on 127.0.0.1, both topics every `every`, with QoS 1 and not
    /// retained. Reconnects by itself when the broker goes away.
    pub fn start(port: u16, site: Site, now: Arc<Now>, every: Duration) -> Self {
        let stop = CancellationToken::new();
        let task = tokio::spawn(publish_until(port, site, now, every, stop.clone()));
        Self { stop, task }
    }

    /// Stops publishing and returns once the connection is closed.
    pub async fn stop(mut self) {
        self.stop.cancel();
        if let Err(error) = (&mut self.task).await {
            tracing::debug!(%error, "MQTT publisher task did not end by itself");
        }
    }
}

impl Drop for Publisher {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

async fn publish_until(
    port: u16,
    site: Site,
    now: Arc<Now>,
    every: Duration,
    stop: CancellationToken,
) {
    let mut options = MqttOptions::new(format!("plant-sensors-{port}"), "127.0.0.1", port);
    options.set_keep_alive(Duration::from_secs(30));
    let (client, mut events) = AsyncClient::new(options, 16);
    let connected = AtomicBool::new(false);
    // Two loops side by side: the client's poll must not be cut off half way by a tick.
    let exchange = async {
        loop {
            match events.poll().await {
                Ok(Event::Incoming(Packet::ConnAck(_))) => connected.store(true, Ordering::Relaxed),
                Ok(_) => {}
                Err(error) => {
                    tracing::debug!(%error, "MQTT sensors cannot reach the broker");
                    connected.store(false, Ordering::Relaxed);
                    tokio::time::sleep(Duration::from_millis(200)).await;
                }
            }
        }
    };
    let measure = async {
        let mut ticks = tokio::time::interval(every);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
        loop {
            ticks.tick().await;
            // A sensor without a connection forgets: only what was measured while connected is
            // sent. The queue holds 16 messages and two fit a tick, so a stalled broker costs
            // messages, never this loop.
            if !connected.load(Ordering::Relaxed) {
                continue;
            }
            let state = site.state_at(now());
            for (topic, message) in [
                (GAS_TOPIC, gas_message(&state)),
                (AMBIENT_TOPIC, ambient_message(&state)),
            ] {
                if client
                    .try_publish(topic, QoS::AtLeastOnce, false, message)
                    .is_err()
                {
                    tracing::debug!(topic, "MQTT queue is full, a message is dropped");
                }
            }
        }
    };
    tokio::select! {
        () = stop.cancelled() => {}
        () = exchange => {}
        () = measure => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::site::COMMISSIONED_UNIX_MS;

    #[test]
    fn the_analyser_speaks_json_and_the_thermometer_a_plain_number() {
        let state = Site::new(1).state_at(COMMISSIONED_UNIX_MS + 86_400_000);
        let gas: serde_json::Value = serde_json::from_str(&gas_message(&state)).unwrap();
        let mole = gas["co2_mol_pct"].as_f64().unwrap();
        assert!((97.0..=99.9).contains(&mole), "{gas}");
        assert!(
            gas["co2_mass_pct"].as_f64().unwrap() > mole,
            "nitrogen is lighter than CO2: {gas}"
        );
        let ambient: f64 = ambient_message(&state).parse().unwrap();
        assert!((20.0..=36.0).contains(&ambient));
    }

    #[test]
    fn hundredths_keep_their_sign_and_zeros() {
        assert_eq!(hundredths(-5), "-0.05");
        assert_eq!(hundredths(1_200), "12.00");
    }
}
