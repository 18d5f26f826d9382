# Debian with the package of this project: one story for hosts and containers.
#
#     make deb && docker build -t certs .          or: make image
#
#     docker run -d --name certs -v certs:/var/lib/certs -v ./certs.yml:/etc/certs/certs.yml:ro … certs
#     docker exec certs certs status
#
# HAProxy/docker-compose.yml shows it beside HAProxy, with the directory and the socket that the two share.
FROM debian:bookworm-slim

COPY .build/deb/certs.deb /tmp/certs.deb
# Its dependencies are known to the package. The configuration is mounted: the sample would renew what nobody declared.
RUN apt-get update \
    && apt-get install -y --no-install-recommends ca-certificates /tmp/certs.deb \
    && rm -rf /var/lib/apt/lists/* /tmp/certs.deb /etc/certs/certs.yml

# Keys, certificates, journal, history: they must outlive the container.
VOLUME /var/lib/certs
# Prometheus; in a container `server: { listen: "0.0.0.0:9219" }`.
EXPOSE 9219
# The user of the package, never root. Beside HAProxy in a container: the user of its socket, as the Compose file has it.
USER certs
# Lives the planner, and not only the listener? The first run may have to wait for HAProxy.
HEALTHCHECK --interval=30s --timeout=10s --start-period=30s CMD ["certs", "health"]
# A rotation that has begun is brought to its end, or back: give it time (docker stop --time 60).
STOPSIGNAL SIGTERM
ENTRYPOINT ["certs"]
CMD ["serve"]
