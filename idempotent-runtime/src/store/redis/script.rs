//! What must compare an owner before it writes, and therefore runs on the server.
//!
//! Each script is one step for everybody else, touches one key, and looks at the first bytes of
//! the value where it can. The end of a claim is told on the shard channel of the key's own name,
//! which in a cluster lives where the key does. Telling it may be forbidden to this user, or fail;
//! it is only for those who wait, and they also look by themselves.

use std::sync::LazyLock;

use redis::{Cmd, Script as Hashed};

/// A script and the name that the server knows it by.
pub(super) struct Script {
    code: &'static str,
    hash: String,
}

impl Script {
    fn new(code: &'static str) -> Self {
        let hash = Hashed::new(code).get_hash().to_owned();
        Self { code, hash }
    }

    /// The call of a script that the server has seen before.
    pub(super) fn by_hash(&self, key: &[u8], arguments: &[&[u8]]) -> Cmd {
        call("EVALSHA", self.hash.as_bytes(), key, arguments)
    }

    /// The call of a script that the server has not seen, or has forgotten.
    pub(super) fn by_code(&self, key: &[u8], arguments: &[&[u8]]) -> Cmd {
        call("EVAL", self.code.as_bytes(), key, arguments)
    }
}

fn call(name: &str, script: &[u8], key: &[u8], arguments: &[&[u8]]) -> Cmd {
    let size = arguments
        .iter()
        .map(|argument| argument.len())
        .sum::<usize>();
    let mut cmd = Cmd::with_capacity(
        4 + arguments.len(),
        name.len() + script.len() + 1 + key.len() + size,
    );
    cmd.arg(name).arg(script).arg(1).arg(key);
    for argument in arguments {
        cmd.arg(*argument);
    }
    cmd
}

/// Grants a claim (`ARGV[1]`, living for `ARGV[2]` ms) where `SET … NX GET` alone cannot: where a
/// lost claim is taken over (`ARGV[3]` is `1`), or one is the caller's own, which is written again
/// so that `WAIT` has something to wait for. Gives 1, or the value that is there and what is left
/// of it.
pub(super) static CLAIM: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        r"local found = redis.call('GET', KEYS[1])
local left = -2
if found then
  left = redis.call('PTTL', KEYS[1])
  local state, owner = string.sub(found, 1, 2), string.sub(ARGV[1], 3, 18)
  local whole = #found == 66 or #found == 74
  local mine = string.sub(found, 3, 18) == owner and whole
  if not mine or (state ~= '\1\1' and state ~= '\1\2') then
    if state ~= '\1\2' or not whole then return {found, left} end
    local ttl = struct.unpack('<I8', found, 51)
    if left == -1 or left > ttl or ARGV[3] ~= '1' then return {found, left} end
  end
end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return 1",
    )
});

/// Puts a record (`ARGV[1]`, living for `ARGV[2]` ms) in the place of its owner's claim, or of
/// nothing. Gives 1, or the value that is there and what is left of it.
pub(super) static COMPLETE: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        r"local head = redis.call('GETRANGE', KEYS[1], 0, 17)
local owner = string.sub(ARGV[1], 3, 18)
if head == '\1\1' .. owner or head == '\1\2' .. owner
  or (head == '' and redis.call('EXISTS', KEYS[1]) == 0) then
  redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
  redis.pcall('SPUBLISH', KEYS[1], '')
  return 1
end
if head == '\1\3' .. owner then
  -- Written before, and the answer was lost: written again, so that `WAIT` waits for it.
  local left = redis.call('PTTL', KEYS[1])
  if left > 0 then redis.call('PEXPIRE', KEYS[1], left) end
  return 1
end
return {redis.call('GET', KEYS[1]), redis.call('PTTL', KEYS[1])}",
    )
});

/// Removes the claim of the owner `ARGV[1]`. Gives 1 when nothing is left of it, 0 when there is
/// something else, -1 when that cannot be read.
pub(super) static RELEASE: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        r"local head = redis.call('GETRANGE', KEYS[1], 0, 17)
if head == '\1\1' .. ARGV[1] or head == '\1\2' .. ARGV[1] then
  redis.call('DEL', KEYS[1])
  redis.pcall('SPUBLISH', KEYS[1], '')
  return 1
end
if head == '' and redis.call('EXISTS', KEYS[1]) == 0 then return 1 end
if #head < 18 or string.byte(head) ~= 1 then return -1 end
return 0",
    )
});

/// Lets the claim of the owner `ARGV[1]` live for another `ARGV[2]` ms. Gives 1, 0 when it is not
/// there, -1 when what is there cannot be read.
///
/// The first renewal writes down when the claim was granted, which until then is known from what
/// is left of its lease. That is only for operators: it may be forbidden, or there be no room.
pub(super) static RENEW: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        r"local head = redis.call('GETRANGE', KEYS[1], 0, 17)
if head == '\1\1' .. ARGV[1] or head == '\1\2' .. ARGV[1] then
  local claim = redis.call('GETRANGE', KEYS[1], 0, -1)
  local time = #claim == 66 and redis.pcall('TIME')
  local left = redis.call('PTTL', KEYS[1])
  if time and not time.err and left > 0 then
    local now = time[1] * 1000 + math.floor(time[2] / 1000)
    local lives = struct.unpack('<I8', claim, 59)
    if string.byte(claim, 2) == 2 then lives = lives + struct.unpack('<I8', claim, 51) end
    redis.pcall('APPEND', KEYS[1], struct.pack('<I8', now - math.max(lives - left, 0)))
  end
  redis.call('PEXPIRE', KEYS[1], ARGV[2])
  return 1
end
if head == '' and redis.call('EXISTS', KEYS[1]) == 0 then return 0 end
if #head < 18 or string.byte(head) ~= 1 then return -1 end
return 0",
    )
});

/// Gives the value, or nothing, and what is left of it.
pub(super) static LOOK: LazyLock<Script> = LazyLock::new(|| {
    Script::new(r"return {redis.call('GET', KEYS[1]), redis.call('PTTL', KEYS[1])}")
});

/// Gives the value if it is a claim, or nothing, and what is left of it: who waits for the end of
/// a claim does not need the record.
pub(super) static WATCH: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        r"local state = string.byte(redis.call('GETRANGE', KEYS[1], 1, 1))
if state ~= 1 and state ~= 2 then return {false, -2} end
return {redis.call('GET', KEYS[1]), redis.call('PTTL', KEYS[1])}",
    )
});

/// Gives the value, or nothing, what is left of it, and the time in seconds and microseconds.
pub(super) static INSPECT: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        r"local time = redis.call('TIME')
return {redis.call('GET', KEYS[1]), redis.call('PTTL', KEYS[1]), time[1], time[2]}",
    )
});

/// As `INSPECT`, but of a claim alone: of records there may be many, and large ones.
pub(super) static INSPECT_CLAIM: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        r"local time = redis.call('TIME')
local state = string.byte(redis.call('GETRANGE', KEYS[1], 1, 1))
if state ~= 1 and state ~= 2 then return {false, -2, time[1], time[2]} end
return {redis.call('GET', KEYS[1]), redis.call('PTTL', KEYS[1]), time[1], time[2]}",
    )
});

/// Removes what is there: where `ARGV[1]` is `lost`, only a lost claim; where it is `done`, a record,
/// too. Gives 1 when it is gone, 0 when nothing was there, 2 when a claim runs, 3 when there is a
/// record, -1 when it cannot be read.
pub(super) static FORGET: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        r"local head = redis.call('GETRANGE', KEYS[1], 0, 1)
if head == '' and redis.call('EXISTS', KEYS[1]) == 0 then return 0 end
if ARGV[1] ~= 'running' then
  if head == '\1\1' then return 2 end
  if head == '\1\2' then
    local claim = redis.call('GETRANGE', KEYS[1], 0, -1)
    if #claim ~= 66 and #claim ~= 74 then return -1 end
    local left = redis.call('PTTL', KEYS[1])
    if left == -1 or left > struct.unpack('<I8', claim, 51) then return 2 end
  elseif head ~= '\1\3' then
    return -1
  elseif ARGV[1] ~= 'done' then
    return 3
  end
end
redis.call('DEL', KEYS[1])
redis.pcall('SPUBLISH', KEYS[1], '')
return 1",
    )
});
