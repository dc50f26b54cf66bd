//! The whole plant behind real sockets: both Modbus servers, the broker and its sensors.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use crate::broker::Broker;
use crate::gateway_config::{GatewayFile, Points};
use crate::modbus_server::{ModbusServer, Now, plant_image};
use crate::mqtt_publisher::Publisher;
use crate::registers::Server;
use crate::site::Site;

/// A running plant. Dropping it closes every socket and ends the broker.
#[derive(Debug)]
pub struct Plant {
    /// Units 1 and 2: the wells.
    pub wellpad: ModbusServer,
    /// Units 10, 11 and 12: compressor, genset, PV plant.
    pub powerhouse: ModbusServer,
    /// The broker.
    pub broker: Broker,
    /// Analyser and thermometer.
    pub sensors: Publisher,
}

impl Plant {
    /// Starts everything on free ports of 127.0.0.1; the broker keeps its files in `directory`,
    /// the sensors publish every `publish_every`.
    ///
    /// # Errors
    ///
    /// When a port cannot be bound or Mosquitto does not start.
    pub async fn start(
        directory: &Path,
        site: Site,
        now: Arc<Now>,
        publish_every: Duration,
    ) -> io::Result<Self> {
        let serve = |server| {
            let image = plant_image(site.clone(), server, Arc::clone(&now));
            ModbusServer::start(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), image)
        };
        let wellpad = serve(Server::Wellpad).await?;
        let powerhouse = serve(Server::Powerhouse).await?;
        let broker = Broker::start(directory).await?;
        let sensors = Publisher::start(broker.port(), site, now, publish_every);
        Ok(Self {
            wellpad,
            powerhouse,
            broker,
            sensors,
        })
    }

    /// Returns the configuration of a gateway that reads this plant, without a collector, sealing
    /// every 60 s.
    pub fn gateway_file(
        &self,
        origin: &str,
        data_dir: &Path,
        interval_s: u32,
        points: Points,
    ) -> GatewayFile {
        GatewayFile {
            origin: origin.to_owned(),
            data_dir: data_dir.to_owned(),
            collector: None,
            segment_s: 60,
            interval_s,
            modbus: [self.wellpad.address(), self.powerhouse.address()],
            mqtt_port: self.broker.port(),
            points,
            clock_source: None,
        }
    }

    /// Stops everything and returns once the sockets are closed.
    ///
    /// # Errors
    ///
    /// When the broker's process cannot be killed.
    pub async fn stop(self) -> io::Result<()> {
        self.sensors.stop().await;
        self.wellpad.stop().await;
        self.powerhouse.stop().await;
        self.broker.stop().await.map(drop)
    }
}

/// Returns the machine's own clock, for the demo and for tests whose programs read it too.
pub fn machine_clock() -> Arc<Now> {
    Arc::new(|| {
        #[expect(
            clippy::disallowed_methods,
            reason = "the one place that asks the machine; everything else is given the result"
        )]
        let now = std::time::SystemTime::now();
        let since = now
            .duration_since(std::time::UNIX_EPOCH)
            .unwrap_or_default();
        i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
    })
}
