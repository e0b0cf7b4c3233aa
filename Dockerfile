# syntax=docker/dockerfile:1
# The build stage's RUN lines are what `.ci/run` executes on every change, so they cannot rot unseen.

FROM python:3.11-slim AS build
WORKDIR /src
COPY requirements ./requirements
# First what seldom changes: the locked requirements, each file checked by its hash.
RUN requirements/install.sh /opt/bellwether run
COPY pyproject.toml README.md LICENSE ./
COPY consumers ./consumers
COPY alerts ./alerts
COPY migrations ./migrations
COPY app ./app
RUN requirements/install.sh /opt/bellwether project
RUN mkdir -p /data

FROM python:3.11-slim
LABEL org.opencontainers.image.title="Bellwether" \
      org.opencontainers.image.licenses="Apache-2.0"
COPY --from=build /opt/bellwether /opt/bellwether
COPY --from=build --chown=65532:65532 /data /data
ENV PATH=/opt/bellwether/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    BELLWETHER_HOST=0.0.0.0 \
    BELLWETHER_DATABASE_URL=sqlite:////data/bellwether.db
# Nobody in particular: no shell, no home, no right to anything but /data.
USER 65532:65532
WORKDIR /data
VOLUME /data
EXPOSE 8000
# What asks a role to drain and end. Said here, so that Docker takes no other signal, SIGHUP to reload, for the end.
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=5s --start-period=20s --retries=3 CMD ["bellwether", "health", "--live"]
ENTRYPOINT ["bellwether"]
CMD ["serve"]
