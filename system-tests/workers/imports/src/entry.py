"""Everything is imported at top level, where nothing random is to be had."""

import json

import django
import django.db.models
import django.http
import django.urls
import fastapi
import httpx
import opentelemetry.baggage
import opentelemetry.context
import opentelemetry.sdk.resources
import opentelemetry.sdk.trace
import opentelemetry.trace
import pydantic
import requests
import sqlalchemy
import sqlalchemy.orm
from workers import Response, WorkerEntrypoint

ENGINE = sqlalchemy.create_engine("sqlite://")


class Item(pydantic.BaseModel):
    price: float


def use():
    """Something of each, so that an import that only looked well would show."""
    with ENGINE.connect() as connection:
        (total,) = connection.execute(sqlalchemy.text("select 40 + 2")).one()
    # A resource of its own: the SDK looks for one with threads, which there are none of.
    provider = opentelemetry.sdk.trace.TracerProvider(resource=opentelemetry.sdk.resources.Resource({}))
    tracer = provider.get_tracer("test")
    with tracer.start_as_current_span("work") as span:
        trace = f"{span.get_span_context().trace_id:032x}"
    return {
        "django": django.get_version(),
        "fastapi": fastapi.FastAPI(title="app").title,
        "httpx": httpx.URL("http://a/b").path,
        "pydantic": Item(price="1.5").price,
        "requests": requests.Request("GET", "http://a/b").prepare().path_url,
        "sqlalchemy": total,
        "trace": trace,
    }


class Default(WorkerEntrypoint):
    async def fetch(self, request):
        return Response(json.dumps(use()), headers={"content-type": "application/json"})
