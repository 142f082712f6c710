"""Answers with what it finds of its secrets."""

import json

from workers import Response, WorkerEntrypoint


class Default(WorkerEntrypoint):
    async def fetch(self, request):
        names = ["API_KEY", "SPARE_KEY", "UNNAMED"]
        return Response(json.dumps({name: getattr(self.env, name, None) for name in names}))
