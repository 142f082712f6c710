"""The same app for a native server: what cold starts are compared with."""

import httpx  # noqa: F401
import pydantic  # noqa: F401
from fastapi import FastAPI

app = FastAPI()


@app.get("/")
async def root():
    return {"message": "This is FastAPI on Workers"}
