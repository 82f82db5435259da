# The operator's image. It also carries the runner as one file, which an init container copies into migration pods.
FROM python:3.13-slim-trixie AS build

# Two environments: one that installs, and the one that goes into the image, which has no pip.
RUN python3 -m venv /build/tools && python3 -m venv --without-pip /opt/venv
COPY requirements/build.txt requirements/operator.txt /build/requirements/
RUN --mount=type=cache,target=/root/.cache/pip \
    /build/tools/bin/pip install --no-compile --require-hashes -r /build/requirements/build.txt \
 && /build/tools/bin/pip --python /opt/venv/bin/python install --no-compile --require-hashes -r /build/requirements/operator.txt

COPY LICENSE README.md pyproject.toml /build/source/
COPY operator /build/source/operator
RUN /build/tools/bin/pip wheel --no-deps --no-build-isolation --wheel-dir /build/wheel /build/source \
 && /build/tools/bin/pip --python /opt/venv/bin/python install --no-compile --no-deps --no-index /build/wheel/lockgate-*.whl

# The runner as one file.
RUN mkdir -p /opt/lockgate && python3 /build/source/operator/runner_archive.py /opt/lockgate/lockgate.pyz

# Byte code that does not depend on file times (but none for the thousand models of the Kubernetes client, which the operator
# does not load), and nothing that is only for developers.
RUN find /opt/venv \( -name tests -o -name test \) -type d -prune -exec rm -rf {} + \
 && find /opt/venv -name '*.pyi' -delete \
 && rm -f /opt/venv/bin/activate* /opt/venv/bin/Activate* \
 && python3 -m compileall -q --invalidation-mode unchecked-hash -x 'kubernetes/.*/(api|models)/' /opt/venv/lib


FROM python:3.13-slim-trixie
LABEL org.opencontainers.image.title="Lockgate" \
      org.opencontainers.image.description="Runs Alembic migrations on Kubernetes: one lock, one gate" \
      org.opencontainers.image.licenses="Apache-2.0"
COPY --from=build /opt/venv /opt/venv
COPY --from=build /opt/lockgate /opt/lockgate
# PYTHONSAFEPATH: the working directory never decides what is imported.
ENV PATH=/opt/venv/bin:/usr/local/bin:/usr/bin:/bin \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONSAFEPATH=1 \
    PYTHONUNBUFFERED=1
WORKDIR /opt/lockgate
USER 65532:65532
ENTRYPOINT ["lockgate-operator"]
