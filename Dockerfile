# The hosted mode as an image: `docker build --tag seedance-mcp .`
# With `--build-arg KIND=sandbox` it has the sandbox studio in the place of the database's and the bucket's libraries.
#
# Python 3.13 on Debian 12: the newest pair for which every pinned requirement has a wheel, so that no stage compiles.
# The tag follows security fixes; pin a digest where your builds must not change by themselves.

FROM python:3.13-slim-bookworm AS build
ARG KIND=hosted
ENV PIP_DISABLE_PIP_VERSION_CHECK=1
WORKDIR /src
RUN python -m venv /opt/seedance
COPY requirements/${KIND}.txt requirements/
RUN /opt/seedance/bin/python -m pip install --no-cache-dir --only-binary=:all: --require-hashes -r requirements/${KIND}.txt
COPY pyproject.toml README.md LICENSE ./
COPY seedance_mcp seedance_mcp
# Wheels are compiled as they are installed: a running container writes no bytecode, and its root may be read-only.
RUN /opt/seedance/bin/python -m pip install --no-cache-dir --no-deps --no-build-isolation . \
    && /opt/seedance/bin/python -m pip uninstall --yes editables hatchling pip

FROM python:3.13-slim-bookworm
RUN install -d -o 10001 -g 10001 -m 0700 /data /keys /objects
COPY --from=build /opt/seedance /opt/seedance
ENV PATH=/opt/seedance/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    HOME=/data \
    SEEDANCE_DATA_DIR=/data \
    SEEDANCE_HTTP_LISTEN=0.0.0.0:8080
# A number, so that Kubernetes can see that it is not root.
USER 10001:10001
WORKDIR /data
EXPOSE 8080 9100
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=15s --timeout=5s --start-period=30s --retries=4 \
    CMD ["python", "-c", "import http.client, os, sys; port = os.environ['SEEDANCE_HTTP_LISTEN'].rpartition(':')[2]; c = http.client.HTTPConnection('127.0.0.1', int(port), timeout=4); c.request('GET', '/healthz'); sys.exit(c.getresponse().status != 200)"]
ENTRYPOINT ["seedance-mcp"]
CMD ["serve"]
