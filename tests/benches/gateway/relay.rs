//! Between gateway and collector: passes the bytes on and counts them.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use std::net::Ipv4Addr;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};

/// Passes a TCP connection on and counts its bytes, TLS and all.
pub(crate) struct Relay {
    pub(crate) port: u16,
    counts: Arc<[AtomicU64; 2]>,
}

impl Relay {
    pub(crate) async fn start(to: u16) -> anyhow::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let port = listener.local_addr()?.port();
        let counts = Arc::new([AtomicU64::new(0), AtomicU64::new(0)]);
        let counted = Arc::clone(&counts);
        tokio::spawn(async move {
            while let Ok((near, _)) = listener.accept().await {
                let Ok(far) = TcpStream::connect((Ipv4Addr::LOCALHOST, to)).await else {
                    continue;
                };
                let (near_read, near_write) = near.into_split();
                let (far_read, far_write) = far.into_split();
                tokio::spawn(copy(near_read, far_write, Arc::clone(&counted), 0));
                tokio::spawn(copy(far_read, near_write, Arc::clone(&counted), 1));
            }
        });
        Ok(Self { port, counts })
    }

    pub(crate) fn sent(&self) -> u64 {
        self.counts[0].load(Ordering::Relaxed)
    }

    pub(crate) fn received(&self) -> u64 {
        self.counts[1].load(Ordering::Relaxed)
    }
}

async fn copy(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    counts: Arc<[AtomicU64; 2]>,
    way: usize,
) {
    let mut buffer = vec![0; 16_384];
    while let Ok(count @ 1..) = from.read(&mut buffer).await {
        if let Some(counter) = counts.get(way) {
            counter.fetch_add(u64::try_from(count).unwrap_or(0), Ordering::Relaxed);
        }
        if to
            .write_all(buffer.get(..count).unwrap_or_default())
            .await
            .is_err()
        {
            break;
        }
    }
}
