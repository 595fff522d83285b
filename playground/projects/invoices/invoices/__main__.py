from wsgiref.simple_server import make_server

from invoices.app import App
from invoices.store import Store

if __name__ == "__main__":
    with make_server("127.0.0.1", 8080, App(Store.sample())) as server:
        print("http://127.0.0.1:8080/invoices")
        server.serve_forever()
