print("certs")
