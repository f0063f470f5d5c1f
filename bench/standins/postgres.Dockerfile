# Makes a bare PostgreSQL of Debian behave as the public image of that name: user 999, POSTGRES_PASSWORD_FILE.
FROM postgres:15-bookworm
RUN /usr/sbin/groupmod -g 999 postgres && /usr/sbin/usermod -u 999 -g 999 postgres \
    && install -d -o postgres -g postgres -m 1777 /var/lib/postgresql/data
ENV PGDATA=/var/lib/postgresql/data PATH=/usr/lib/postgresql/15/bin:/usr/local/bin:/usr/bin:/bin
COPY postgres-entrypoint.sh /usr/local/bin/docker-entrypoint.sh
LABEL intima.standin=true
ENTRYPOINT ["sh", "/usr/local/bin/docker-entrypoint.sh"]
CMD ["postgres"]
