//! Whatever is done, the answers are those of the store alone.

use std::time::Duration;

use idempotent_runtime::{Fingerprint, ManualClock, MemoryStore, NearCache, OnLost, Store};
use proptest::prelude::*;

use crate::{LARGE, claim_of, response};

/// What somebody does to a store.
#[derive(Clone, Copy, Debug)]
enum Step {
    Claim { takes_over: bool },
    Complete { body: u8 },
    Release,
    Renew,
    Abandon,
    Invalidate,
    Advance { millis: u64 },
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => any::<bool>().prop_map(|takes_over| Step::Claim { takes_over }),
        4 => any::<u8>().prop_map(|body| Step::Complete { body }),
        1 => Just(Step::Release),
        1 => Just(Step::Renew),
        1 => Just(Step::Abandon),
        1 => Just(Step::Invalidate),
        3 => (0u64..3000).prop_map(|millis| Step::Advance { millis }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// Two processes, each with its cache, on one store answer as the store alone does.
    #[test]
    fn it_answers_as_the_store_alone(
        steps in prop::collection::vec((0u128..6, 0usize..3, step()), 1..120),
        refuse in any::<bool>(),
        max_bytes in prop_oneof![Just(LARGE), Just(1000u64)],
        ttl_millis in 1u64..8000,
    ) {
        let clock = ManualClock::default();
        let memory = || MemoryStore::builder().clock(clock.clone()).build();
        let [alone, shared] = [memory(), memory()];
        let process = || NearCache::with_clock(shared.clone(), max_bytes, clock.clone());
        let processes = [process(), process()];
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            for (owner, key, step) in steps {
                // What a memory store says of its own expired records depends on whether it has
                // swept them, which it does by chance.
                alone.sweep(usize::MAX);
                shared.sweep(usize::MAX);
                // An owner lives in one process.
                let cached = &processes[usize::from(owner % 2 == 1)];
                let mut claim = claim_of(["a", "b", "c"][key], owner);
                claim.ttl = Duration::from_millis(ttl_millis);
                claim.fingerprint = Fingerprint::from_bytes([u8::try_from(owner).unwrap(); 32]);
                if refuse {
                    claim.on_lost = OnLost::Refuse;
                }
                match step {
                    Step::Claim { takes_over } => {
                        claim.takes_over = takes_over;
                        prop_assert_eq!(
                            cached.claim(&claim).await.unwrap(),
                            alone.claim(&claim).await.unwrap()
                        );
                    }
                    Step::Complete { body } => prop_assert_eq!(
                        cached.complete(&claim, &response(&[body])).await.unwrap(),
                        alone.complete(&claim, &response(&[body])).await.unwrap()
                    ),
                    Step::Release => prop_assert_eq!(
                        cached.release(&claim).await.unwrap(),
                        alone.release(&claim).await.unwrap()
                    ),
                    Step::Renew => prop_assert_eq!(
                        cached.renew(&claim).await.unwrap(),
                        alone.renew(&claim).await.unwrap()
                    ),
                    Step::Abandon => {
                        cached.abandon(&claim);
                        alone.abandon(&claim);
                    }
                    Step::Invalidate => cached.invalidate(&claim.id),
                    Step::Advance { millis } => clock.advance(Duration::from_millis(millis)),
                }
                prop_assert!(cached.bytes() <= max_bytes);
            }
            Ok(())
        })?;
    }
}
