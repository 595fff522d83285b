# bubblewrap needs user namespaces inside the container:
#   docker run --security-opt seccomp=unconfined --security-opt systempaths=unconfined …
# (podman: --security-opt unmask=ALL). Never --privileged.
FROM python:3.11-slim-bookworm

RUN apt-get update \
    && apt-get install -y --no-install-recommends bubblewrap git ca-certificates python3 \
    && rm -rf /var/lib/apt/lists/*

RUN useradd --create-home --uid 10001 journeyman
WORKDIR /opt/journeyman

COPY requirements.txt ./
RUN pip install --no-cache-dir --require-hashes --only-binary :all: -r requirements.txt

COPY pyproject.toml requirements.in README.md LICENSE ./
COPY agent ./agent
COPY bot ./bot
COPY alembic ./alembic

USER journeyman
ENV JOURNEYMAN_HOME=/home/journeyman/state PYTHONPATH=/opt/journeyman JOURNEYMAN_LISTEN=0.0.0.0:8080
EXPOSE 8080
HEALTHCHECK --start-period=30s CMD ["python", "-c", "import urllib.request as u; u.urlopen('http://127.0.0.1:8080/healthz', timeout=3)"]
ENTRYPOINT ["python", "-m", "bot"]
CMD ["serve"]
