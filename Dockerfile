# One image for every service; the command says which. Built from locked dependencies; runs as a user of its own.
FROM python:3.11-slim-bookworm AS build
WORKDIR /build
RUN python3 -m venv /opt/cq
COPY requirements/demo.txt requirements/demo.txt
RUN /opt/cq/bin/pip install --no-cache-dir --no-deps --require-hashes -r requirements/demo.txt
COPY pyproject.toml README.md LICENSE ./
COPY shared/ shared/
COPY services/ services/
COPY copilot_quant/ copilot_quant/
# What strategies/requirements.txt brings comes last on the path: it adds to our packages and replaces none.
RUN /opt/cq/bin/pip install --no-cache-dir --no-deps --no-build-isolation . \
 && echo /packages > "$(/opt/cq/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/strategy-packages.pth"

FROM python:3.11-slim-bookworm
ENV PATH=/opt/cq/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 TZ=UTC CQ_ENV_FILE=
RUN useradd --create-home --uid 10001 cq && mkdir -p /state /strategies /packages && chown cq:cq /state /packages
COPY --from=build /opt/cq /opt/cq
USER cq
WORKDIR /home/cq
HEALTHCHECK --interval=5s --timeout=4s --start-period=60s --retries=3 \
  CMD ["python", "-m", "shared.probe"]
ENTRYPOINT ["python", "-m"]
