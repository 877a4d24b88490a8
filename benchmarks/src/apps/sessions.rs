//! Sessions of actix-session in this process's memory: it comes with Redis and with cookies, and
//! neither can be compared with the memory of the others.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use actix_session::storage::{
    LoadError, SaveError, SessionKey, SessionStore, UpdateError, generate_session_key,
};
use actix_web::cookie::time::Duration;

type State = HashMap<String, String>;

/// Nothing expires during the measurement, so that nothing needs to be swept.
#[derive(Clone, Default)]
pub(crate) struct Sessions(Arc<Mutex<HashMap<String, State>>>);

impl Sessions {
    /// Adds records to every session until it has so many: copies of the first one there under
    /// names of their own. By requests it would take hours.
    pub(crate) fn fill(&self, records: u64) {
        for state in self.lock().values_mut() {
            let is_record = |name: &&String| name.len() == 64;
            let Some(record) = state.keys().find(is_record).map(|name| state[name].clone()) else {
                continue;
            };
            let mut number = 0_u64;
            while (state.len() as u64) < records {
                state.insert(format!("{number:064x}"), record.clone());
                number += 1;
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, State>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl SessionStore for Sessions {
    async fn load(&self, key: &SessionKey) -> Result<Option<State>, LoadError> {
        Ok(self.lock().get(key.as_ref()).cloned())
    }

    async fn save(&self, state: State, ttl: &Duration) -> Result<SessionKey, SaveError> {
        self.update(generate_session_key(), state, ttl)
            .await
            .map_err(|error| SaveError::Other(error.into()))
    }

    async fn update(
        &self,
        key: SessionKey,
        state: State,
        _: &Duration,
    ) -> Result<SessionKey, UpdateError> {
        self.lock().insert(key.as_ref().to_owned(), state);
        Ok(key)
    }

    async fn update_ttl(&self, _: &SessionKey, _: &Duration) -> Result<(), anyhow::Error> {
        Ok(())
    }

    async fn delete(&self, key: &SessionKey) -> Result<(), anyhow::Error> {
        self.lock().remove(key.as_ref());
        Ok(())
    }
}
