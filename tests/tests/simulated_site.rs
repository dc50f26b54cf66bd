//! The simulated site itself, asked through clients written by others.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use rumqttc::{AsyncClient, Event, MqttOptions, Packet, QoS};
use system_tests::broker::Broker;
use system_tests::modbus_server::{Fault, ModbusServer, Now, Seen, own_address_image, plant_image};
use system_tests::mqtt_publisher::{AMBIENT_TOPIC, GAS_TOPIC, Publisher, ambient_message};
use system_tests::peers::PymodbusMeter;
use system_tests::registers::Server;
use system_tests::site::{COMMISSIONED_UNIX_MS, Site};
use tokio_modbus::client::{Context, Reader as _, tcp};
use tokio_modbus::prelude::{ExceptionCode, Slave, SlaveContext as _};

const NOON: i64 = COMMISSIONED_UNIX_MS + 20 * 86_400_000 + 12 * 3_600_000;

fn frozen() -> Arc<Now> {
    Arc::new(|| NOON)
}

fn loopback() -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, 0))
}

async fn plant(server: Server) -> ModbusServer {
    ModbusServer::start(loopback(), plant_image(Site::new(1), server, frozen()))
        .await
        .unwrap()
}

async fn client(server: &ModbusServer, unit: u8) -> Context {
    tcp::connect_slave(server.address(), Slave(unit))
        .await
        .unwrap()
}

#[tokio::test]
async fn several_units_of_one_listener_show_the_plant() {
    let server = plant(Server::Powerhouse).await;
    let state = Site::new(1).state_at(NOON);
    let mut client = client(&server, 10).await;
    let words = client.read_input_registers(0, 4).await.unwrap().unwrap();
    let energy = (u32::from(words[2]) << 16) | u32::from(words[3]);
    assert_eq!(i64::from(energy), state.compressor_wh / 100);
    client.set_slave(Slave(12));
    let words = client.read_input_registers(0, 2).await.unwrap().unwrap();
    assert_eq!(
        i64::from((u32::from(words[0]) << 16) | u32::from(words[1])),
        state.pv_w
    );
    client.set_slave(Slave(11));
    assert_eq!(
        client.read_discrete_inputs(0, 1).await.unwrap().unwrap(),
        [false]
    );
    assert_eq!(server.connections(), 1);
    assert_eq!(
        server.take_seen()[2],
        Seen {
            unit: 11,
            function: 2,
            start: 0,
            count: 1
        }
    );
}

#[tokio::test]
async fn a_missing_register_a_missing_unit_and_a_write_are_refused_by_name() {
    use tokio_modbus::client::Writer as _;
    let server = plant(Server::Wellpad).await;
    let mut client = client(&server, 1).await;
    let refused = client
        .read_holding_registers(50, 2)
        .await
        .unwrap()
        .unwrap_err();
    assert_eq!(refused, ExceptionCode::IllegalDataAddress);
    let refused = client
        .write_single_register(0, 1)
        .await
        .unwrap()
        .unwrap_err();
    assert_eq!(refused, ExceptionCode::IllegalFunction);
    client.set_slave(Slave(77));
    let refused = client
        .read_holding_registers(0, 2)
        .await
        .unwrap()
        .unwrap_err();
    assert_eq!(refused, ExceptionCode::GatewayTargetDevice);
}

#[tokio::test]
async fn every_register_of_the_address_image_holds_its_own_address() {
    let server = ModbusServer::start(loopback(), own_address_image())
        .await
        .unwrap();
    let mut client = client(&server, 3).await;
    let words = client
        .read_input_registers(65_411, 125)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(words, (65_411..=65_535).collect::<Vec<u16>>());
    let bits = client.read_discrete_inputs(7, 3).await.unwrap().unwrap();
    assert_eq!(bits, [true, false, true]);
}

#[tokio::test]
async fn a_fault_of_one_unit_leaves_the_others_alone_and_can_be_cleared() {
    let server = plant(Server::Wellpad).await;
    server.set_fault(1, Some(Fault::Exception(4)));
    let mut client = client(&server, 1).await;
    let refused = client
        .read_holding_registers(0, 2)
        .await
        .unwrap()
        .unwrap_err();
    assert_eq!(refused, ExceptionCode::ServerDeviceFailure);
    client.set_slave(Slave(2));
    assert!(client.read_holding_registers(0, 2).await.unwrap().is_ok());
    server.set_fault(1, None);
    client.set_slave(Slave(1));
    assert!(client.read_holding_registers(0, 2).await.unwrap().is_ok());
}

#[tokio::test]
async fn a_silent_unit_answers_nothing_and_a_closing_one_ends_the_connection() {
    let server = plant(Server::Wellpad).await;
    server.set_fault(1, Some(Fault::Silent));
    let mut silent = client(&server, 1).await;
    let waited = tokio::time::timeout(
        Duration::from_millis(200),
        silent.read_holding_registers(0, 1),
    )
    .await;
    assert!(waited.is_err(), "answered: {waited:?}");
    server.set_fault(1, Some(Fault::Close));
    let mut closed = client(&server, 1).await;
    assert!(closed.read_holding_registers(0, 1).await.is_err());
}

#[tokio::test]
async fn wrong_headers_reach_the_client_as_errors() {
    let server = plant(Server::Wellpad).await;
    for fault in [
        Fault::WrongUnit,
        Fault::WrongTransaction,
        Fault::Noise,
        Fault::Torn,
    ] {
        server.set_fault(1, Some(fault));
        let mut client = client(&server, 1).await;
        let read = client.read_holding_registers(0, 2);
        let answer = tokio::time::timeout(Duration::from_secs(2), read).await;
        assert!(
            !matches!(answer, Ok(Ok(Ok(_)))),
            "{fault:?} passed as {answer:?}"
        );
    }
}

#[tokio::test]
async fn a_stopped_server_frees_its_port_and_hangs_up() {
    let server = plant(Server::Wellpad).await;
    let address = server.address();
    let mut client = client(&server, 1).await;
    assert!(client.read_holding_registers(0, 1).await.unwrap().is_ok());
    server.stop().await;
    assert!(client.read_holding_registers(0, 1).await.is_err());
    let again = ModbusServer::start(address, own_address_image())
        .await
        .unwrap();
    assert_eq!(again.address(), address);
}

/// Subscribes to everything of the plant and returns messages as they come.
async fn next_message(events: &mut rumqttc::EventLoop) -> (String, String) {
    loop {
        // The broker may be away for a moment: the client tries again.
        match events.poll().await {
            Ok(Event::Incoming(Packet::Publish(publish))) => {
                return (
                    publish.topic,
                    String::from_utf8(publish.payload.to_vec()).unwrap(),
                );
            }
            Ok(_) => {}
            Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
        }
    }
}

#[tokio::test]
async fn the_sensors_publish_through_mosquitto_and_go_on_after_it_crashed() {
    let directory = tempfile::tempdir().unwrap();
    let broker = Broker::start(directory.path()).await.unwrap();
    let publisher = Publisher::start(
        broker.port(),
        Site::new(1),
        frozen(),
        Duration::from_millis(100),
    );
    let mut options = MqttOptions::new("listener", "127.0.0.1", broker.port());
    options.set_clean_session(false);
    let (client, mut events) = AsyncClient::new(options, 16);
    client.subscribe("plant/#", QoS::AtLeastOnce).await.unwrap();

    let mut topics = Vec::new();
    while !(topics.contains(&GAS_TOPIC.to_owned()) && topics.contains(&AMBIENT_TOPIC.to_owned())) {
        let (topic, message) = next_message(&mut events).await;
        if topic == AMBIENT_TOPIC {
            assert_eq!(message, ambient_message(&Site::new(1).state_at(NOON)));
        }
        topics.push(topic);
    }

    let broker = broker.crash_and_restart().await.unwrap();
    let mut connected_again = false;
    while !connected_again {
        match events.poll().await {
            Ok(Event::Incoming(Packet::ConnAck(_))) => connected_again = true,
            Ok(_) => {}
            Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
        }
    }
    client.subscribe("plant/#", QoS::AtLeastOnce).await.unwrap();
    let (topic, _) = next_message(&mut events).await;
    assert!(topic.starts_with("plant/"));
    publisher.stop().await;
    broker.stop().await.unwrap();
}

#[tokio::test]
async fn the_pymodbus_meter_shows_addresses_and_typed_values() {
    let meter = PymodbusMeter::start().await.unwrap();
    let mut client = tcp::connect_slave(meter.address(), Slave(1)).await.unwrap();
    let words = client
        .read_holding_registers(875, 125)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(words, (875..1_000).collect::<Vec<u16>>());
    client.set_slave(Slave(2));
    let words = client.read_holding_registers(0, 2).await.unwrap().unwrap();
    let [a, b] = words[0].to_be_bytes();
    let [c, d] = words[1].to_be_bytes();
    assert_eq!(
        f32::from_be_bytes([a, b, c, d]).to_bits(),
        21.5_f32.to_bits()
    );
    let missing = client.read_holding_registers(500, 2).await.unwrap();
    assert_eq!(missing, Err(ExceptionCode::IllegalDataAddress));
}
