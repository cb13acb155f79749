# syntax=docker/dockerfile:1
# The HTTP server and the command line, with the embedded model, on a CPU:
#
#     docker build -t samovar .
#     docker run --rm -p 8000:8000 -v samovar:/data samovar
#     docker run --rm --user "$(id -u)" -v "$PWD:/images" -w /images samovar segment photo.jpg --box 12,30,410,380 --out masks.png
#
# Model libraries come as extras: docker build --build-arg EXTRAS=serve,sam .
FROM python:3.13-slim
ARG EXTRAS=serve
ENV PYTHONUNBUFFERED=1 SAMOVAR_CACHE_DIR=/data/embeddings NUMBA_CACHE_DIR=/opt/samovar/compiled
COPY . /opt/samovar/source
RUN pip install --no-cache-dir -c /opt/samovar/source/constraints.txt "/opt/samovar/source[$EXTRAS]"
# Compiled while the image is built, so that no container waits for it.
RUN samovar segment /opt/samovar/source/docs/assets/photo.jpg --point 200,180 --cache off --json
RUN useradd --create-home samovar && mkdir /data && chown samovar /data && chmod -R a+rwX /opt/samovar/compiled
USER samovar
VOLUME /data
EXPOSE 8000
HEALTHCHECK --start-period=1m CMD python -c "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8000/health')"
ENTRYPOINT ["samovar"]
CMD ["serve", "--host", "0.0.0.0", "--port", "8000"]
