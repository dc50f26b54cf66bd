//! `verify`: this device's own log, entry by entry, as a verifier would.

use evidence::chain::Chain;

use super::Failure;
use crate::buffer::LogReader;
use crate::config::GatewayConfig;

/// Reads the log from its oldest file and checks every rule.
pub(super) async fn execute(config: &GatewayConfig) -> Result<String, Failure> {
    let log_dir = config.data_dir.join("log");
    let mut reader = LogReader::of_dir(&log_dir).await?;
    let (first, end) = reader.bounds();
    let mut chain = match reader.beginning().await? {
        Some(state) if first > 0 => Chain::decode(&state)?,
        _ => Chain::new(config.origin.clone()),
    };
    let mut samples = 0_u64;
    while chain.size() < end {
        for row in reader.rows(chain.size(), end, 1_000, 8 << 20).await? {
            let applied = chain
                .apply(&row.entry, row.payload.as_deref())
                .map_err(|rejection| {
                    Failure::new(format!("entry {} does not verify: {rejection}", row.index))
                })?;
            if let Some(segment) = applied.segment {
                let columns = segment.columns.iter().map(|column| column.values.len());
                samples += u64::try_from(columns.sum::<usize>()).unwrap_or(u64::MAX);
            }
        }
    }
    Ok(format!(
        "log          {}\nentries      {first}..{end}, every signature, hash and tick verified\n\
         samples      {samples}\nroot         {}\n",
        config.origin.as_str(),
        chain.root().to_base64(),
    ))
}
