# tidemill, with all that it needs to run and nothing that it was built with.
FROM rust:1.95.0-bookworm AS build
# The client of Spark Connect is generated from its protocol files.
RUN apt-get update \
    && apt-get install --yes --no-install-recommends protobuf-compiler libprotobuf-dev \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /src
COPY Cargo.toml Cargo.lock ./
COPY orchestrator orchestrator
COPY tasks tasks
COPY web-ui web-ui
COPY src src
# A member of the workspace: cargo reads its manifest, and builds nothing of it.
COPY xtask xtask
# What was compiled is kept in a cache, which is no part of the image: the binary must leave it.
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/src/target \
    cargo build --release --locked --features spark \
    && cp target/release/tidemill /tidemill

FROM debian:bookworm-slim
RUN apt-get update \
    && apt-get install --yes --no-install-recommends ca-certificates \
    && rm -rf /var/lib/apt/lists/*
# The number of the first user on most machines: files in mounted directories are then that user's.
RUN useradd --uid 1000 --create-home tidemill \
    && install --directory --owner tidemill /data /data/artifacts
COPY --from=build /tidemill /usr/local/bin/tidemill
COPY pipelines /project/pipelines
COPY docker/tidemill.yaml /project/tidemill.yaml
ENV HOME=/home/tidemill TIDEMILL_DATA_DIR=/data
USER tidemill
WORKDIR /project
VOLUME /data
ENTRYPOINT ["tidemill"]
CMD ["--help"]
