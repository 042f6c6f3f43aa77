"""One agent in Python asks another one, through mesh_client.py.

    python3 examples/python/ask.py ws://127.0.0.1:7171/mesh

prints

    2 + 3 = 5
"""
import asyncio, sys
from mesh_client import MeshClient

async def main(url):
    async def add(message):
        return sum(message["payload"])

    adder = await MeshClient.connect(url, "python-adder", ["add"], add)
    asker = await MeshClient.connect(url, "python-asker", ["ask"])
    reply = await asker.request({"capability": "add"}, [2, 3])
    print("2 + 3 =", reply["payload"])
    await asker.close()
    await adder.close()

asyncio.run(main(sys.argv[1]))
