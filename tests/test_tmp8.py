import time
from storage import stream as storage
from tests.chat import *
SEED="""
            INSERT INTO message (channel, seq, author, nonce, sent_at, text)
            SELECT $1, n, $2, gen_random_uuid(), now(), 'x' FROM generate_series(1, 10500) n
            """
async def test_x(server, ann, bob):
  for mode in ('analyzed empty',):
    channel = await group(ann, bob)
    async with sql(server) as db:
        if mode!='fresh':
            await db.execute("SELECT 1")
        if mode=='analyzed empty':
            await db.execute("ANALYZE")
        await db.execute(SEED, channel, me(ann))
        await db.execute("UPDATE stream SET head = 10500 WHERE id = $1", channel)
        if mode=='emptied': pass
    print(mode)
    for k in range(3):
        for at in (0, 5000, 9900):
            t=time.time(); m = await storage.missed(server.pool, channel, at, 500); print(at, len(m.facts), round(time.time()-t,4))
